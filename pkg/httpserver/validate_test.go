package httpserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

// orders serves the document's operations with handlers that accept everything.
func orders(e *echo.Echo) {
	e.POST("/v1/orders", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		return c.Blob(http.StatusAccepted, "application/json", body)
	})
	e.GET("/v1/orders", func(c echo.Context) error { return c.String(http.StatusOK, "list") })
	e.GET("/v1/orders/:id", func(c echo.Context) error { return c.String(http.StatusOK, c.Param("id")) })
}

const soundOrder = `{"currency":"EUR","note":null,"deadline":"2026-01-02T03:04:05Z","lines":[{"sku":"A","quantity":1}]}`

func TestValidation_passes_what_is_sound(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{Spec: mustSpec(t, document)}, orders)
	a := r.do(t, "POST", "/v1/orders", soundOrder, "Idempotency-Key", "k")
	require.Equal(t, http.StatusAccepted, a.status, a.body)
	require.Equal(t, soundOrder, a.body, "the handler reads the same body")
	a = r.do(t, "POST", "/v1/orders", soundOrder, "Idempotency-Key", "k", "Content-Type", "application/json; charset=UTF-8")
	require.Equal(t, http.StatusAccepted, a.status, a.body)
	require.Equal(t, "list", r.do(t, "GET", "/v1/orders?limit=5&status=open", "").body)
	const id = "0198f0a0-0000-7000-8000-000000000000"
	require.Equal(t, id, r.do(t, "GET", "/v1/orders/"+id, "").body)
}

func TestValidation_refuses(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{Spec: mustSpec(t, document), BodyLimit: 2000}, orders)
	type fault = httpserver.FieldError
	withNote := func(note string) string { return strings.Replace(soundOrder, `"note":null`, `"note":`+note, 1) }
	for _, test := range []struct {
		name    string
		body    string
		headers []string
		code    httpserver.Code
		faults  []fault
	}{
		{"no key", soundOrder, []string{"Idempotency-Key", ""}, httpserver.CodeIdempotencyKeyMissing, nil},
		{
			"long key", soundOrder,
			[]string{"Idempotency-Key", strings.Repeat("k", 65)},
			httpserver.CodeValidationFailed,
			[]fault{{Parameter: "Idempotency-Key", In: "header", Code: "maxLength"}},
		},
		{"no body", "", []string{"Content-Type", "application/json"}, httpserver.CodeMalformedJSON, nil},
		{"no body, no type", "", nil, httpserver.CodeMalformedJSON, nil},
		{"no JSON", `{"currency":`, nil, httpserver.CodeMalformedJSON, nil},
		{"two documents", soundOrder + soundOrder, nil, httpserver.CodeMalformedJSON, nil},
		{"broken text", withNote("\"\xff\""), nil, httpserver.CodeMalformedJSON, nil},
		{"XML", soundOrder, []string{"Content-Type", "application/xml"}, httpserver.CodeUnsupportedMediaType, nil},
		{"no type", soundOrder, []string{"Content-Type", ""}, httpserver.CodeUnsupportedMediaType, nil},
		{
			"other charset", soundOrder,
			[]string{"Content-Type", "application/json; charset=latin1"},
			httpserver.CodeUnsupportedMediaType, nil,
		},
		{"compressed", soundOrder, []string{"Content-Encoding", "gzip"}, httpserver.CodeUnsupportedMediaType, nil},
		{"too large", withNote(`"` + strings.Repeat("x", 2000) + `"`), nil, httpserver.CodeBodyTooLarge, nil},
		{"not an object", `[]`, nil, httpserver.CodeValidationFailed, []fault{{Code: "type"}}},
		{"null", `null`, nil, httpserver.CodeValidationFailed, []fault{{Code: "nullable"}}},
		{
			"zero character", withNote(`"a\u0000b"`), nil, httpserver.CodeValidationFailed,
			[]fault{{Pointer: "/note", Code: "text"}},
		},
		{
			"everything at once", `{"curency":"EUR","note":"12345678901","lines":[{"sku":"","quantity":0},{"sku":"B"},{}]}`, nil,
			httpserver.CodeValidationFailed,
			[]fault{
				{Pointer: "/curency", Code: "additionalProperties"},
				{Pointer: "/currency", Code: "required"},
				{Pointer: "/lines", Code: "maxItems"},
				{Pointer: "/lines/0/quantity", Code: "exclusiveMinimum"},
				{Pointer: "/lines/0/sku", Code: "minLength"},
				{Pointer: "/lines/1/quantity", Code: "required"},
				{Pointer: "/lines/2/quantity", Code: "required"},
				{Pointer: "/lines/2/sku", Code: "required"},
				{Pointer: "/note", Code: "maxLength"},
			},
		},
		{
			"formats", `{"currency":"eur","deadline":"soon","lines":[{"sku":"A","quantity":1.5}]}`, nil,
			httpserver.CodeValidationFailed,
			[]fault{
				{Pointer: "/currency", Code: "pattern"},
				{Pointer: "/deadline", Code: "format"},
				{Pointer: "/lines/0/quantity", Code: "type"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := r.do(t, "POST", "/v1/orders", test.body, append([]string{"Idempotency-Key", "k"}, test.headers...)...)
			require.Equal(t, test.code, a.problem.Code, a.body)
			var faults []fault
			for _, f := range a.problem.Errors {
				require.NotEmpty(t, f.Detail)
				f.Detail = ""
				faults = append(faults, f)
			}
			require.Equal(t, test.faults, faults, a.body)
			require.NotEmpty(t, a.problem.Detail)
			require.Equal(t, "/v1/orders", a.problem.Instance)
		})
	}
}

func TestValidation_refuses_parameters(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{Spec: mustSpec(t, document)}, orders)
	for _, test := range []struct {
		path, parameter, in, code string
	}{
		{"/v1/orders?limit=0", "limit", "query", "minimum"},
		{"/v1/orders?limit=many", "limit", "query", "type"},
		{"/v1/orders?limit=999999999999999999999999", "limit", "query", "type"},
		{"/v1/orders?status=lost", "status", "query", "enum"},
		{"/v1/orders?note=a%00b", "note", "query", "text"},
		{"/v1/orders?status=%ff", "status", "query", "text"},
		{"/v1/orders/17", "id", "path", "format"},
	} {
		a := r.do(t, "GET", test.path, "")
		require.Equal(t, httpserver.CodeValidationFailed, a.problem.Code, "%s: %s", test.path, a.body)
		require.Len(t, a.problem.Errors, 1, test.path)
		f := a.problem.Errors[0]
		require.Equal(t, []string{test.parameter, test.in, test.code}, []string{f.Parameter, f.In, f.Code}, test.path)
		require.NotEmpty(t, f.Detail)
	}
	require.Equal(t, httpserver.CodeNotFound, r.do(t, "GET", "/v1/orders/a%00b", "").problem.Code)
}

// A keyword that requests would not be checked for stops the server, not the first hostile request.
func TestNew_refuses_documents(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"a keyword that requests are not checked for": {`sku: {type: string, minLength: 1}`, `sku: {const: A}`},
		"the OpenAPI document is not valid":           {`responses: {"202": {description: accepted}}`, `responses: {}`},
	} {
		broken := strings.Replace(document, change[0], change[1], 1)
		require.NotEqual(t, document, broken)
		_, err := httpserver.New(httpserver.Options{Spec: mustSpec(t, broken), Log: discard})
		require.ErrorContains(t, err, name)
	}
	_, err := httpserver.New(httpserver.Options{})
	require.ErrorContains(t, err, "Log is required")
}
