package service

import (
	"context"

	"go.opentelemetry.io/otel"
)

// Traced says whether the process has a tracer provider; a program that traces sets it before it makes a client or a
// server. Without one the instrumentation would make spans that nobody sees, at a fifth of all allocations of a saga.
func Traced() bool {
	_, span := otel.Tracer("recourse.dev/pkg/service").Start(context.Background(), "probe")
	defer span.End()
	return span.IsRecording() || span.SpanContext().IsValid()
}
