package httpserver_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
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

func (s *span) IsRecording() bool                   { return true }
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

// A span knows how its request was answered, also where the handler returned an error or panicked. What is refused on
// the way has none.
func TestTracing(t *testing.T) { //nolint:paralleltest // the provider is everybody's
	seen := &spans{status: map[string]int64{}, failed: map[string]bool{}}
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(seen)
	t.Cleanup(func() { otel.SetTracerProvider(before) })
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
