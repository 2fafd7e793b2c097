package gatewaysim

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"recourse.dev/pkg/money"
	"recourse.dev/pkg/sandbox"
)

const (
	maxAmount   = 999_999_999_999
	maxMetadata = 50
	maxText     = 500
	defaultPage = 10
	maxPage     = 100
)

type metadata map[string]string

type createParams struct {
	Amount        int64    `json:"amount"`
	Currency      string   `json:"currency"`
	CaptureMethod string   `json:"capture_method"`
	PaymentMethod *string  `json:"payment_method"`
	Metadata      metadata `json:"metadata"`
}

type confirmParams struct {
	PaymentMethod string   `json:"payment_method"`
	Metadata      metadata `json:"metadata"`
}

type captureParams struct {
	AmountToCapture *int64   `json:"amount_to_capture"`
	Metadata        metadata `json:"metadata"`
}

type cancelParams struct {
	CancellationReason string   `json:"cancellation_reason"`
	Metadata           metadata `json:"metadata"`
}

type refundParams struct {
	PaymentIntent string   `json:"payment_intent"`
	Amount        *int64   `json:"amount"`
	Reason        *string  `json:"reason"`
	Metadata      metadata `json:"metadata"`
}

func (p createParams) check() *Error {
	switch {
	case p.Currency == "":
		return parameter("missing", "currency", "Missing required param: currency.")
	case !money.Currency(strings.ToUpper(p.Currency)).Valid():
		return parameter("invalid", "currency", "Invalid currency: want an ISO 4217 code such as eur.")
	case p.CaptureMethod != "" && p.CaptureMethod != "manual":
		return parameter("invalid", "capture_method", "Invalid capture_method: the simulator knows manual only.")
	case p.PaymentMethod != nil:
		if _, unknown := triggerOf(*p.PaymentMethod); unknown != nil {
			return unknown
		}
	}
	return firstOf(checkAmount("amount", p.Amount), p.Metadata.check())
}

func (p confirmParams) check() *Error { return p.Metadata.check() }

func (p captureParams) check() *Error {
	if p.AmountToCapture == nil {
		return p.Metadata.check()
	}
	return firstOf(checkAmount("amount_to_capture", *p.AmountToCapture), p.Metadata.check())
}

func (p cancelParams) check() *Error {
	if len(p.CancellationReason) > maxText || p.CancellationReason == reasonExpired {
		return parameter("invalid", "cancellation_reason", "Invalid cancellation_reason.")
	}
	return p.Metadata.check()
}

func (p refundParams) check() *Error {
	if p.PaymentIntent == "" {
		return parameter("missing", "payment_intent", "Missing required param: payment_intent.")
	}
	if p.Amount == nil {
		return p.Metadata.check()
	}
	return firstOf(checkAmount("amount", *p.Amount), p.Metadata.check())
}

func (m metadata) check() *Error {
	if len(m) > maxMetadata {
		return parameter("invalid", "metadata", "There may be at most 50 metadata keys.")
	}
	for key, value := range m {
		if len(key) > maxText || len(value) > maxText {
			return parameter("invalid", "metadata", "Metadata keys and values may have at most 500 bytes.")
		}
	}
	return nil
}

func checkAmount(param string, amount int64) *Error {
	switch {
	case amount == 0:
		return parameter("missing", param, "Missing required param, or 0: "+param+".")
	case amount < 0 || amount > maxAmount:
		return parameter("invalid", param, "Invalid "+param+": want 1 to 999999999999 minor units.")
	}
	return nil
}

func firstOf(first, second *Error) *Error {
	if first != nil {
		return first
	}
	return second
}

// decode reads a body strictly; an empty one is no parameters.
func decode[P interface{ check() *Error }](body []byte) (P, *Error) {
	var params P
	if len(body) == 0 {
		return params, params.check()
	}
	err := sandbox.DecodeStrict(body, &params)
	if err == nil {
		return params, params.check()
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return params, parameter("invalid", wrong.Field, "Invalid "+wrong.Field+": it may not be a "+wrong.Value+".")
	}
	// encoding/json has no type for this error.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		field = strings.Trim(field, `"`)
		return params, parameter("unknown", field, "Received unknown parameter: "+field+".")
	}
	return params, parameter("invalid", "", "The body is not a JSON object: "+err.Error())
}

// query reads the parameters of a list: the named filters, limit and starting_after.
type query struct {
	url.Values

	limit int
}

func listQuery(r *http.Request, filters ...string) (query, *Error) {
	q := query{Values: r.URL.Query(), limit: defaultPage}
	for name := range q.Values {
		// A misspelt filter that is ignored would answer with everybody's payments.
		if name != "limit" && name != "starting_after" && !slices.Contains(filters, name) {
			return q, parameter("unknown", name, "Received unknown parameter: "+name+".")
		}
	}
	if text := q.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return q, parameter("invalid", "limit", "Invalid limit: want 1 to 100.")
		}
		q.limit = limit
	}
	return q, nil
}
