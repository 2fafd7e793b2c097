package payment

import (
	"net/http"

	"recourse.dev/pkg/httpserver"
)

// What a program that embeds the service has beside its API: the benchmarks do.

// ReachGatewayBy lets the gateway be reached by another transport than HTTP over TCP. It is called before Run.
func (s *Service) ReachGatewayBy(transport http.RoundTripper) {
	s.gateway.client.Transport = httpserver.Traced(transport)
}

// Handler is the API, for callers in this process.
func (s *Service) Handler() http.Handler { return s.server.Handler() }
