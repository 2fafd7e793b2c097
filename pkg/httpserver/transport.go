package httpserver

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"recourse.dev/pkg/service"
)

// Traced is a client's transport that makes spans of its requests, and tells the other side of them, where the process is
// traced; see service.Traced.
func Traced(transport http.RoundTripper) http.RoundTripper {
	if !service.Traced() {
		return transport
	}
	return otelhttp.NewTransport(transport)
}
