package httpserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// TypeBase begins the type of every problem; the code ends it. docs/problems holds the pages.
const TypeBase = "https://recourse.dev/problems/"

// ContentTypeProblem is the media type of a problem.
const ContentTypeProblem = "application/problem+json"

// FieldError is one fault in a request.
type FieldError struct {
	// Pointer is a JSON pointer (RFC 6901) into the body; "" with an empty Parameter is the body itself.
	Pointer string `json:"pointer"`
	// Parameter and In name a faulty parameter instead, for example "limit" in "query".
	Parameter string `json:"parameter,omitempty"`
	In        string `json:"in,omitempty"`
	// Code is the rule that was broken, for example "required", "minimum" or "maxLength".
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Problem is an error as a client sees it (RFC 9457). It is an error itself: a handler returns it.
type Problem struct {
	Code Code
	// Detail says what is wrong with this request and what to do; it is shown to the client.
	Detail string
	// Errors are the single faults of a request.
	Errors []FieldError
	// RetryAfter asks the client to come back not before that time; 0 is no such wish.
	RetryAfter time.Duration
	// Instance and RequestID are filled in when the problem is sent.
	Instance  string
	RequestID string
	// Extra members, for example the address of the order that a key belongs to.
	Extra map[string]any
	// Cause is for the log only.
	Cause error
}

// ProblemOption changes a new problem.
type ProblemOption func(*Problem)

// WithErrors names single faults.
func WithErrors(errors ...FieldError) ProblemOption {
	return func(p *Problem) { p.Errors = append(p.Errors, errors...) }
}

// WithRetryAfter asks the client to come back later.
func WithRetryAfter(d time.Duration) ProblemOption {
	return func(p *Problem) { p.RetryAfter = d }
}

// WithExtra adds a member to the document.
func WithExtra(name string, value any) ProblemOption {
	return func(p *Problem) {
		if p.Extra == nil {
			p.Extra = make(map[string]any)
		}
		p.Extra[name] = value
	}
}

// WithCause keeps an error for the log.
func WithCause(err error) ProblemOption {
	return func(p *Problem) { p.Cause = err }
}

// NewProblem makes a problem of a code from the table. The detail is shown to the client.
func NewProblem(code Code, detail string, options ...ProblemOption) *Problem {
	p := &Problem{Code: code, Detail: detail}
	for _, option := range options {
		option(p)
	}
	return p
}

// Status is the HTTP status of the problem's code.
func (p *Problem) Status() int { return p.definition().Status }

func (p *Problem) definition() Definition {
	d, ok := byCode[p.Code]
	if !ok {
		// A code outside of the table is our mistake, not the client's.
		return byCode[CodeInternal]
	}
	return d
}

func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", p.Code, p.Detail, p.Cause)
	}
	return fmt.Sprintf("%s: %s", p.Code, p.Detail)
}

func (p *Problem) Unwrap() error { return p.Cause }

// document is a problem without extra members, in the order in which the others are written too.
type document struct {
	Code       Code         `json:"code"`
	Detail     string       `json:"detail,omitempty"`
	Errors     []FieldError `json:"errors,omitempty"`
	Instance   string       `json:"instance,omitempty"`
	RequestID  string       `json:"request_id,omitempty"`
	RetryAfter int          `json:"retry_after,omitempty"`
	Status     int          `json:"status"`
	Title      string       `json:"title"`
	Type       string       `json:"type"`
}

// MarshalJSON writes the document of RFC 9457 with our members code, errors, retry_after and request_id.
func (p *Problem) MarshalJSON() ([]byte, error) {
	d := p.definition()
	// A struct and no map: refusing is what a busy server does the most.
	whole, err := json.Marshal(&document{
		Code: d.Code, Detail: p.Detail, Errors: p.Errors, Instance: p.Instance, RequestID: p.RequestID,
		RetryAfter: retrySeconds(p.RetryAfter), Status: d.Status, Title: d.Title, Type: TypeBase + string(d.Code),
	})
	if err != nil || len(p.Extra) == 0 {
		return whole, err
	}
	members := make(map[string]any, 8+len(p.Extra))
	maps.Copy(members, p.Extra)
	// Ours win.
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}

// retrySeconds rounds up: coming back too early is what it is meant to avoid.
func retrySeconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
