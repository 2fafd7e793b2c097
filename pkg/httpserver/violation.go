package httpserver

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// maxFaults bounds how many faults one answer lists; whoever sends more has another problem.
const maxFaults = 50

// HeaderIdempotencyKey has a code of its own, because it is what a new client forgets first.
const HeaderIdempotencyKey = "Idempotency-Key"

// validationProblem makes a problem of what the library found: malformed_json if there was no JSON to look at, else
// validation_failed with all faults.
func validationProblem(err error) *Problem {
	var faults []FieldError
	for _, one := range each(err) {
		requestErr, ok := errors.AsType[*openapi3filter.RequestError](one)
		if !ok {
			faults = append(faults, FieldError{Code: "request", Detail: one.Error()})
			continue
		}
		if requestErr.Parameter != nil {
			if requestErr.Parameter.Name == HeaderIdempotencyKey && errors.Is(requestErr.Err, openapi3filter.ErrInvalidRequired) {
				return NewProblem(CodeIdempotencyKeyMissing, "Send a value of your own, new for every order and the same for "+
					"every repetition, in the header Idempotency-Key.")
			}
			faults = append(faults, parameterFault(requestErr))
			continue
		}
		if parse, ok := errors.AsType[*openapi3filter.ParseError](requestErr.Err); ok {
			return NewProblem(CodeMalformedJSON, "The body is not JSON: "+reasonOf(parse), WithCause(err))
		}
		if errors.Is(requestErr.Err, openapi3filter.ErrInvalidRequired) {
			return NewProblem(CodeMalformedJSON, "The body is empty; this request needs one.", WithCause(err))
		}
		faults = append(faults, bodyFaults(requestErr.Err)...)
	}
	slices.SortStableFunc(faults, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(a.In, b.In), cmp.Compare(a.Parameter, b.Parameter), cmp.Compare(a.Pointer, b.Pointer))
	})
	detail := fmt.Sprintf("%d faults; each of errors says where and what.", len(faults))
	if len(faults) == 1 {
		detail = "One fault; errors says where and what."
	}
	return NewProblem(CodeValidationFailed, detail, WithErrors(faults[:min(len(faults), maxFaults)]...), WithCause(err))
}

func each(err error) []error {
	if many, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // only the outermost is a list of requests' errors
		return many
	}
	return []error{err}
}

func parameterFault(err *openapi3filter.RequestError) FieldError {
	fault := FieldError{Parameter: err.Parameter.Name, In: err.Parameter.In, Code: "invalid", Detail: err.Reason}
	if errors.Is(err.Err, openapi3filter.ErrInvalidRequired) {
		fault.Code, fault.Detail = "required", "the parameter is required"
	} else if schemaErr, ok := errors.AsType[*openapi3.SchemaError](err.Err); ok {
		fault.Code, fault.Detail = schemaErr.SchemaField, schemaErr.Reason
	} else if parse, ok := errors.AsType[*openapi3filter.ParseError](err.Err); ok {
		fault.Code, fault.Detail = "type", reasonOf(parse)
	}
	return fault
}

// bodyFaults lists the faults of a body, each with its place. Of a choice (oneOf, anyOf) only the choice itself is named:
// the faults of every branch would mislead.
func bodyFaults(err error) []FieldError {
	switch err := err.(type) { //nolint:errorlint // the library's own tree
	case nil:
		return nil
	case openapi3.MultiError:
		var faults []FieldError
		for _, one := range err {
			faults = append(faults, bodyFaults(one)...)
		}
		return faults
	case *openapi3.SchemaError:
		if err.SchemaField == "allOf" && err.Origin != nil {
			if inner, ok := errors.AsType[openapi3.MultiError](err.Origin); ok {
				return bodyFaults(inner)
			}
			return bodyFaults(err.Origin)
		}
		var pointer strings.Builder
		for _, token := range err.JSONPointer() {
			pointer.WriteString("/" + escapePointer(token))
		}
		fault := FieldError{Pointer: pointer.String(), Code: err.SchemaField, Detail: err.Reason}
		// The library names an unknown property in its text only, and points to the object around it.
		var name string
		if n, _ := fmt.Sscanf(err.Reason, "property %q is unsupported", &name); n == 1 && err.SchemaField == "properties" {
			fault.Pointer += "/" + escapePointer(name)
			fault.Code = "additionalProperties"
			fault.Detail = "there is no property of this name; is it misspelt?"
		}
		return []FieldError{fault}
	default:
		return []FieldError{{Code: "schema", Detail: err.Error()}}
	}
}

// reasonOf is the innermost reason, without the value that came with it.
func reasonOf(err *openapi3filter.ParseError) string {
	if cause := err.RootCause(); cause != nil {
		return cause.Error()
	}
	return err.Reason
}
