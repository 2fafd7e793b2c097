// Package apitest drives a REST API with arbitrary requests, for the fuzz tests of the services.
package apitest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"
)

// patience bounds one request: a wait that a client may ask for is longer, and nobody waits for it here.
const patience = 2 * time.Second

type operation struct {
	method, path string
	*openapi3.Operation
	item *openapi3.PathItem
}

var parameter = regexp.MustCompile(`\{[^}]+\}`)

// Fuzz sends arbitrary requests to every operation of an API. No answer is a breakdown (5xx), and each one is what the
// document says of its operation: a status that is listed, with the headers and the body that belong to it.
//
// The inputs are the number of an operation, the value of its path parameters, the raw query, the value of every header
// that the operation knows, and the body. bodies are seeds for those that take one.
func Fuzz(f *testing.F, spec *openapi3.T, handler http.Handler, bodies ...string) {
	f.Helper()
	operations := operationsOf(spec)
	require.NotEmpty(f, operations)
	for i, op := range operations {
		f.Add(uint8(i), "0198f0a0-0000-7000-8000-000000000000", "limit=2", "1", "")
		f.Add(uint8(i), "%00", "cursor=%ff&limit=0&limit=1", "\x00", "{}")
		if op.RequestBody == nil {
			continue
		}
		for _, body := range bodies {
			f.Add(uint8(i), "SKU-1", "", "key", body)
		}
	}
	f.Fuzz(func(t *testing.T, number uint8, id, query, header, body string) {
		op := operations[int(number)%len(operations)]
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, op.method, "/", strings.NewReader(body))
		request.URL = &url.URL{Path: parameter.ReplaceAllLiteralString(op.path, id), RawQuery: query}
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		for _, p := range op.Parameters {
			if p.Value.In == openapi3.ParameterInHeader && header != "" {
				request.Header.Set(p.Value.Name, header)
			}
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		require.Less(t, answer.Code, http.StatusInternalServerError, "%s %s: %s", op.method, request.URL, answer.Body)
		if strings.Count(request.URL.Path, "/") != strings.Count(op.path, "/") {
			return // another path, of another operation or of none
		}
		err := openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: request,
				Route: &routers.Route{
					Spec: spec, Path: op.path, PathItem: op.item, Method: op.method, Operation: op.Operation,
				},
			},
			Status: answer.Code, Header: answer.Header(), Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
		})
		require.NoError(t, err, "%s %s answered %d %s", op.method, request.URL, answer.Code, answer.Body)
	})
}

// operationsOf lists them in an order that stays, so that an input names the same one tomorrow.
func operationsOf(spec *openapi3.T) []operation {
	// The library's own validator knows all that our documents use, and takes them as 3.0 only.
	spec.OpenAPI = "3.0.3"
	var all []operation
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{method, path, op, item})
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		return strings.Compare(a.OperationID, b.OperationID)
	})
	return all
}
