package service

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
)

// Traced says whether the process has a tracer provider; a program that traces sets it before it makes a client or a
// server. Without one the instrumentation would make spans that nobody sees, at a fifth of all allocations of a saga.
func Traced() bool {
	_, span := otel.Tracer("recourse.dev/pkg/service").Start(context.Background(), "probe")
	defer span.End()
	return span.IsRecording() || span.SpanContext().IsValid()
}

// Tracing makes spans of the requests that go through a client's transport, and tells the other side of them, where the
// process is traced.
func Tracing(transport http.RoundTripper) http.RoundTripper {
	if !Traced() {
		return transport
	}
	return otelhttp.NewTransport(transport)
}
