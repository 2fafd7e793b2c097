package gatewaysim

import (
	"fmt"
	"net/http"

	"recourse.dev/pkg/sandbox"
)

// Error is a refusal as the provider words it.
type Error struct {
	Type        string  `json:"type"`
	Code        string  `json:"code"`
	DeclineCode string  `json:"decline_code,omitempty"`
	Message     string  `json:"message"`
	Param       string  `json:"param,omitempty"`
	Intent      *Intent `json:"payment_intent,omitempty"`

	status int
}

const (
	typeCard        = "card_error"
	typeRequest     = "invalid_request_error"
	typeIdempotency = "idempotency_error"
	typeAPI         = "api_error"
)

// answer is the error as a response.
func (e *Error) answer() sandbox.Answer {
	return sandbox.JSON(e.status, map[string]*Error{"error": e})
}

// about is a copy that carries the intent: what the caller should believe now.
func (e *Error) about(intent Intent) *Error {
	told := *e
	told.Intent = &intent
	return &told
}

func declined(code, declineCode string) *Error {
	return &Error{
		Type: typeCard, Code: code, DeclineCode: declineCode,
		Message: "Your card was declined.", status: http.StatusPaymentRequired,
	}
}

func unexpectedState(intent Intent, verb string) *Error {
	return (&Error{
		Type: typeRequest, Code: "payment_intent_unexpected_state",
		Message: fmt.Sprintf("You cannot %s this PaymentIntent because it has a status of %s.", verb, intent.Status),
		status:  http.StatusBadRequest,
	}).about(intent)
}

func expiredForCapture(intent Intent) *Error {
	return (&Error{
		Type: typeRequest, Code: "charge_expired_for_capture",
		Message: "The charge cannot be captured as the authorization has expired.", status: http.StatusBadRequest,
	}).about(intent)
}

func tooLarge(intent Intent, amount, limit int64) *Error {
	return (&Error{
		Type: typeRequest, Code: "amount_too_large", Param: "amount",
		Message: fmt.Sprintf("The amount %d is more than the %d that is left.", amount, limit),
		status:  http.StatusBadRequest,
	}).about(intent)
}

func alreadyRefunded(intent Intent) *Error {
	return (&Error{
		Type: typeRequest, Code: "charge_already_refunded",
		Message: "The whole amount has already been refunded.", status: http.StatusBadRequest,
	}).about(intent)
}

// parameter is a refusal of the request's form; kind is missing, invalid or unknown.
func parameter(kind, param, message string) *Error {
	return &Error{
		Type: typeRequest, Code: "parameter_" + kind, Param: param, Message: message, status: http.StatusBadRequest,
	}
}

func noSuch(status int, what, id string) *Error {
	return &Error{
		Type: typeRequest, Code: "resource_missing", Param: what,
		Message: fmt.Sprintf("No such %s: %q.", what, id), status: status,
	}
}

func keyReused() *Error {
	return &Error{
		Type: typeIdempotency, Code: "idempotency_key_reused",
		Message: "This Idempotency-Key was used with another path or body. Use a new key for another request.",
		status:  http.StatusBadRequest,
	}
}

func keyInUse() *Error {
	return &Error{
		Type: typeIdempotency, Code: "idempotency_key_in_use",
		Message: "A request with this Idempotency-Key is still being worked on. Ask again later.",
		status:  http.StatusConflict,
	}
}

// failed is an answer of the machinery, not of a decision.
func failed(status int) *Error {
	switch status {
	case http.StatusUnauthorized:
		return &Error{
			Type: typeRequest, Code: "api_key_invalid", status: status,
			Message: "The API key is missing or wrong: send Authorization: Bearer <key>.",
		}
	case http.StatusRequestEntityTooLarge:
		return &Error{Type: typeRequest, Code: "body_too_large", Message: "The body is too large.", status: status}
	case http.StatusTooManyRequests:
		return &Error{Type: typeAPI, Code: "rate_limit", Message: "Too many requests.", status: status}
	case http.StatusServiceUnavailable:
		return &Error{Type: typeAPI, Code: "service_unavailable", Message: "Nothing was done.", status: status}
	default:
		return &Error{
			Type: typeAPI, Code: "api_error", status: http.StatusInternalServerError,
			Message: "Something went wrong. The request may have been done: GET the object.",
		}
	}
}
