package httpserver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"recourse.dev/pkg/httpserver"
)

// spans keeps what became of the spans of all tests here, by name.
type spans struct {
	noop.TracerProvider

	mu     sync.Mutex
	status map[string]int64
	failed map[string]bool
}

func (s *spans) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{all: s} }

type tracer struct {
	noop.Tracer

	all *spans
}

func (t tracer) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	one := &span{all: t.all, name: name}
	return trace.ContextWithSpan(ctx, one), one
}

type span struct {
	noop.Span

	all    *spans
	name   string
	status int64
	failed bool
}

func (s *span) IsRecording() bool { return true }
func (s *span) SpanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
}
func (s *span) SetName(name string)                 { s.name = name }
func (s *span) SetStatus(code codes.Code, _ string) { s.failed = code == codes.Error }
func (s *span) SetAttributes(attributes ...attribute.KeyValue) {
	for _, a := range attributes {
		if a.Key == "http.response.status_code" {
			s.status = a.Value.AsInt64()
		}
	}
}

func (s *span) End(...trace.SpanEndOption) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.status[s.name], s.all.failed[s.name] = s.status, s.failed
}

// mustTrace traces the process until the test ends. The first provider that there was hands on to the next one for ever,
// so it is not put back.
func mustTrace(t *testing.T) *spans {
	t.Helper()
	all := &spans{status: map[string]int64{}, failed: map[string]bool{}}
	otel.SetTracerProvider(all)
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	return all
}

// A span knows how its request was answered, also where the handler returned an error or panicked. What is refused on
// the way has none.
func TestTracing(t *testing.T) { //nolint:paralleltest // the provider is everybody's
	seen := mustTrace(t)
	refuse := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Path() == "/traced/refused" {
				return httpserver.NewProblem(httpserver.CodeOverloaded, "Not now.")
			}
			return next(c)
		}
	}
	r := start(t, httpserver.Options{Before: []echo.MiddlewareFunc{refuse}}, func(e *echo.Echo) {
		e.POST("/traced/fine", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
		e.POST("/traced/refused", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
		e.POST("/traced/wrong", func(echo.Context) error { return errors.New("wrong") })
		e.POST("/traced/panics", func(echo.Context) error { panic("wrong") })
		e.POST("/traced/absent", func(echo.Context) error {
			return httpserver.NewProblem(httpserver.CodeOrderNotFound, "No such order.")
		})
	})
	for path, want := range map[string]int{
		"/traced/fine": 204, "/traced/refused": 429, "/traced/wrong": 500, "/traced/panics": 500, "/traced/absent": 404,
	} {
		require.Equal(t, want, r.do(t, http.MethodPost, path, "{}").status, path)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	require.Equal(t, int64(204), seen.status["POST /traced/fine"])
	require.Equal(t, int64(500), seen.status["POST /traced/wrong"])
	require.Equal(t, int64(500), seen.status["POST /traced/panics"])
	require.Equal(t, int64(404), seen.status["POST /traced/absent"])
	require.True(t, seen.failed["POST /traced/panics"])
	require.NotContains(t, seen.status, "POST /traced/refused")
}

// A request to somebody else carries its span, and is the transport's own where nobody traces.
func TestTraced(t *testing.T) { //nolint:paralleltest // the provider is everybody's
	otel.SetTracerProvider(noop.NewTracerProvider())
	require.Same(t, http.DefaultTransport, httpserver.Traced(http.DefaultTransport))

	mustTrace(t)
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.TraceContext{})
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	var heard string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard = r.Header.Get("Traceparent")
	}))
	defer other.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, other.URL, http.NoBody)
	require.NoError(t, err)

	answer, err := httpserver.Traced(http.DefaultTransport).RoundTrip(request)

	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-00", heard)
}
