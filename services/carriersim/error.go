package carriersim

import (
	"net/http"

	"recourse.dev/pkg/sandbox"
)

// Error is a refusal as the provider words it.
type Error struct {
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Errors  []FieldError `json:"errors"`

	status int
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *Error) answer() sandbox.Answer {
	told := *e
	told.Errors = append([]FieldError{}, e.Errors...)
	return sandbox.JSON(e.status, map[string]Error{"error": told})
}

// refuse is a refusal of what the request wants.
func refuse(code, message string) *Error {
	return &Error{Code: code, Message: message, status: http.StatusUnprocessableEntity}
}

func badRequest(message string) *Error {
	return &Error{Code: "bad_request", Message: message, status: http.StatusBadRequest}
}

func notFound(what string) *Error {
	return &Error{Code: "not_found", Message: "There is no " + what + ".", status: http.StatusNotFound}
}

// failed is an answer of the machinery, not of a decision.
func failed(status int) *Error {
	switch status {
	case http.StatusUnauthorized:
		return &Error{
			Code: "unauthorized", status: status,
			Message: "The API key is missing or wrong: send it as the user name of basic authentication.",
		}
	case http.StatusRequestEntityTooLarge:
		return &Error{Code: "body_too_large", Message: "The body is too large.", status: status}
	case http.StatusTooManyRequests:
		return &Error{Code: "rate_limited", Message: "Too many requests.", status: status}
	case http.StatusServiceUnavailable:
		return &Error{Code: "service_unavailable", Message: "Nothing was done.", status: status}
	default:
		return &Error{
			Code: "internal_error", status: http.StatusInternalServerError,
			Message: "Something went wrong. The request may have been done: GET the shipment.",
		}
	}
}
