package shipping

import (
	"net/http"

	"recourse.dev/pkg/httpserver"
)

// What a program that embeds the service has beside its API: the benchmarks do.

// ReachCarrierBy lets the carrier be reached by another transport than HTTP over TCP. It is called before Run.
func (s *Service) ReachCarrierBy(transport http.RoundTripper) {
	s.carrier.client.Transport = httpserver.Traced(transport)
}

// Handler is the API, for callers in this process.
func (s *Service) Handler() http.Handler { return s.server.Handler() }
