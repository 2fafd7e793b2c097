package service_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"recourse.dev/pkg/service"
)

// Not parallel: which provider there is, is the process's.
//
//nolint:paralleltest // as said
func TestTracing(t *testing.T) {
	plain := http.DefaultTransport
	require.Same(t, plain, service.Tracing(plain), "a process that is not traced must not pay for spans")

	provider, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	otel.SetTracerProvider(provided{})
	otel.SetTextMapPropagator(propagation.TraceContext{})
	t.Cleanup(func() {
		otel.SetTracerProvider(provider)
		otel.SetTextMapPropagator(propagator)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Heard", r.Header.Get("Traceparent"))
	}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	require.NoError(t, err)

	answer, err := service.Tracing(plain).RoundTrip(request)

	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-00", answer.Header.Get("Heard"))
}

// provided makes spans of one trace.
type provided struct{ noop.TracerProvider }

func (provided) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{} }

type tracer struct{ noop.Tracer }

func (tracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.ContextWithSpan(ctx, span{}), span{}
}

type span struct{ noop.Span }

func (span) SpanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
}
