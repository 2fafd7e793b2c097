package carriersim

import "net/http"

// Handler is the API without a listener, for fuzzing.
func (s *Server) Handler() http.Handler { return s.routes() }
