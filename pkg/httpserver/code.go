package httpserver

import "net/http"

// Code names a kind of problem. Codes are part of the API: they are never renamed and never change their meaning.
type Code string

// What is wrong with a request before anybody looked at what it says.
const (
	CodeMalformedJSON        Code = "malformed_json"
	CodeValidationFailed     Code = "validation_failed"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeNotFound             Code = "not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeCrossOriginRefused   Code = "cross_origin_refused"
	CodeCursorInvalid        Code = "cursor_invalid"
	CodeSignatureInvalid     Code = "signature_invalid"
	CodeSignatureExpired     Code = "signature_expired"
)

// Orders and sagas.
const (
	CodeIdempotencyKeyMissing Code = "idempotency_key_missing"
	CodeIdempotencyKeyReused  Code = "idempotency_key_reused"
	CodeIdempotencyInProgress Code = "idempotency_in_progress"
	CodeOrderNotFound         Code = "order_not_found"
	CodeSagaNotFound          Code = "saga_not_found"
	CodeTooLate               Code = "too_late"
	CodeTotalsMismatch        Code = "totals_mismatch"
	CodeCurrencyUnknown       Code = "currency_unknown"
)

// Stock.
const (
	CodeUnknownSKU        Code = "unknown_sku"
	CodeInsufficientStock Code = "insufficient_stock"
	CodeDuplicateSKU      Code = "duplicate_sku"
	CodeDuplicateLocation Code = "duplicate_location"
	CodeUnknownLocation   Code = "unknown_location"
)

// Dead letters.
const (
	CodeDeadLetterNotFound Code = "dead_letter_not_found"
	CodeAlreadyRedriven    Code = "already_redriven"
	CodeAlreadyDismissed   Code = "already_dismissed"
)

// What is not the request's fault.
const (
	CodeConflict    Code = "conflict"
	CodeUnavailable Code = "unavailable"
	CodeOverloaded  Code = "overloaded"
	CodeInternal    Code = "internal"
)

// Definition is one row of the table of codes.
type Definition struct {
	Code   Code
	Status int
	// Title is the same for every occurrence.
	Title string
}

// definitions is the table. A new code needs a constant above, a row here and a page in docs/problems.
var definitions = []Definition{
	{CodeMalformedJSON, http.StatusBadRequest, "The body is not JSON"},
	{CodeValidationFailed, http.StatusUnprocessableEntity, "The request does not follow the API's description"},
	{CodeBodyTooLarge, http.StatusRequestEntityTooLarge, "The body is too large"},
	{CodeUnsupportedMediaType, http.StatusUnsupportedMediaType, "The body's media type is not accepted"},
	{CodeNotFound, http.StatusNotFound, "There is nothing at this address"},
	{CodeMethodNotAllowed, http.StatusMethodNotAllowed, "The method is not allowed here"},
	{CodeCrossOriginRefused, http.StatusForbidden, "A web page of another origin may not do this"},
	{CodeCursorInvalid, http.StatusBadRequest, "The cursor is not valid"},
	{CodeSignatureInvalid, http.StatusUnauthorized, "The signature is missing or not right"},
	{CodeSignatureExpired, http.StatusUnauthorized, "The signature is too old or of the future"},

	{CodeIdempotencyKeyMissing, http.StatusBadRequest, "The header Idempotency-Key is required"},
	{CodeIdempotencyKeyReused, http.StatusUnprocessableEntity, "The idempotency key was used for another request"},
	{CodeIdempotencyInProgress, http.StatusConflict, "A request with this idempotency key is in progress"},
	{CodeOrderNotFound, http.StatusNotFound, "There is no such order"},
	{CodeSagaNotFound, http.StatusNotFound, "There is no such saga"},
	{CodeTooLate, http.StatusConflict, "It is too late for this"},
	{CodeTotalsMismatch, http.StatusUnprocessableEntity, "The totals do not add up"},
	{CodeCurrencyUnknown, http.StatusUnprocessableEntity, "The currency is unknown"},

	{CodeUnknownSKU, http.StatusNotFound, "There is no such SKU"},
	{CodeInsufficientStock, http.StatusConflict, "There is not enough stock"},
	{CodeDuplicateSKU, http.StatusConflict, "The SKU exists already"},
	{CodeDuplicateLocation, http.StatusConflict, "The location exists already"},
	{CodeUnknownLocation, http.StatusNotFound, "There is no such location"},

	{CodeDeadLetterNotFound, http.StatusNotFound, "There is no such dead letter"},
	{CodeAlreadyRedriven, http.StatusConflict, "The dead letter was redriven already"},
	{CodeAlreadyDismissed, http.StatusConflict, "The dead letter was dismissed already"},

	{CodeConflict, http.StatusConflict, "The request conflicts with the present state"},
	{CodeUnavailable, http.StatusServiceUnavailable, "The service cannot work at the moment"},
	{CodeOverloaded, http.StatusTooManyRequests, "There are too many requests at the moment"},
	{CodeInternal, http.StatusInternalServerError, "Something went wrong on our side"},
}

var byCode = func() map[Code]Definition {
	m := make(map[Code]Definition, len(definitions))
	for _, d := range definitions {
		m[d.Code] = d
	}
	return m
}()

// Definitions lists the table of codes.
func Definitions() []Definition {
	return append([]Definition(nil), definitions...)
}
