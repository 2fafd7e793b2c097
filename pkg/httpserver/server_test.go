package httpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/httpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const document = `
openapi: 3.1.0
info: {title: Test, version: "1"}
paths:
  /v1/orders:
    post:
      operationId: submit
      parameters:
        - {name: Idempotency-Key, in: header, required: true, schema: {type: string, minLength: 1, maxLength: 64}}
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Order"}
      responses: {"202": {description: accepted}}
    get:
      operationId: list
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: status, in: query, schema: {type: string, enum: [open, done]}}
      responses: {"200": {description: ok}}
  /v1/orders/{id}:
    get:
      operationId: get
      parameters:
        - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
      responses: {"200": {description: ok}}
components:
  schemas:
    Order:
      type: object
      required: [currency, lines]
      additionalProperties: false
      properties:
        currency: {type: string, pattern: "^[A-Z]{3}$"}
        note: {type: ["string", "null"], maxLength: 10}
        deadline: {type: string, format: date-time}
        lines:
          type: array
          minItems: 1
          maxItems: 2
          items: {$ref: "#/components/schemas/Line"}
    Line:
      type: object
      required: [sku, quantity]
      additionalProperties: false
      properties:
        sku: {type: string, minLength: 1}
        quantity: {type: integer, exclusiveMinimum: 0, maximum: 1000}
`

func mustSpec(t *testing.T, text string) *openapi3.T {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData([]byte(text))
	require.NoError(t, err)
	return spec
}

// logged collects what the server logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errDatabaseAway = errors.New("dial tcp 10.0.0.7:5432: connection refused")

// running is a server under test.
type running struct {
	url  string
	log  *logged
	stop func() error
}

func start(t *testing.T, options httpserver.Options, routes func(*echo.Echo)) *running {
	t.Helper()
	r := &running{log: &logged{}}
	options.Addr = "127.0.0.1:0"
	options.Log = slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	options.Unavailable = func(err error) bool { return errors.Is(err, errDatabaseAway) }
	server, err := httpserver.New(options)
	require.NoError(t, err)
	if routes != nil {
		routes(server.Echo())
	}
	require.NoError(t, server.Listen(t.Context()))
	r.url = "http://" + server.Addr()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, r.stop())
	})
	// Requests wait in the listener's queue until Run serves them, but readiness comes with Run.
	require.EventuallyWithT(t, func(c *assertT) {
		response, err := http.Get(r.url + "/readyz")
		require.NoError(c, err)
		require.NoError(c, response.Body.Close())
		require.NotContains(c, r.readiness(c, "serving"), "starting")
	}, 10*time.Second, time.Millisecond)
	return r
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
	// problem is set if the body is one.
	problem problem
}

type problem struct {
	Type       string                  `json:"type"`
	Title      string                  `json:"title"`
	Status     int                     `json:"status"`
	Code       httpserver.Code         `json:"code"`
	Detail     string                  `json:"detail"`
	Instance   string                  `json:"instance"`
	RequestID  string                  `json:"request_id"`
	RetryAfter int                     `json:"retry_after"`
	Errors     []httpserver.FieldError `json:"errors"`
	OrderID    string                  `json:"order_id"`
}

func (r *running) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, reader)
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Del(headers[i])
		if headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	a := answer{status: response.StatusCode, header: response.Header, body: string(text)}
	if response.Header.Get("Content-Type") == httpserver.ContentTypeProblem {
		require.NoError(t, json.Unmarshal(text, &a.problem))
		require.Equal(t, a.status, a.problem.Status)
		require.Equal(t, httpserver.TypeBase+string(a.problem.Code), a.problem.Type)
		require.NotEmpty(t, a.problem.Title)
		require.Equal(t, response.Header.Get("X-Request-Id"), a.problem.RequestID)
	}
	return a
}

func (r *running) readiness(t require.TestingT, name string) string {
	response, err := http.Get(r.url + "/readyz?verbose")
	require.NoError(t, err)
	var result struct {
		Checks []struct{ Name, Error string }
	}
	require.NoError(t, errors.Join(json.NewDecoder(response.Body).Decode(&result), response.Body.Close()))
	for _, check := range result.Checks {
		if check.Name == name {
			return check.Error
		}
	}
	require.Fail(t, "no such check", name)
	return ""
}
