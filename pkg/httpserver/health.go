package httpserver

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"recourse.dev/pkg/service"
)

// Check is one condition of readiness.
type Check struct {
	Name string
	// Check returns what is wrong. It has two seconds.
	Check func(ctx context.Context) error
}

const checkTimeout = 2 * time.Second

func isHealthPath(path string) bool {
	switch path {
	case "/livez", "/readyz", "/version", "/metrics":
		return true
	}
	return false
}

// readiness is what /readyz?verbose says.
type readiness struct {
	Ready  bool          `json:"ready"`
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

func (s *Server) addHealth() {
	// Live as long as it answers: a database that is away is no reason to be restarted.
	s.echo.GET("/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	s.echo.GET("/readyz", s.readyz)
	s.echo.GET("/version", func(c echo.Context) error { return c.JSON(http.StatusOK, service.Version()) })
	s.echo.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{
		Registry: s.options.Registry,
	})))
}

func (s *Server) readyz(c echo.Context) error {
	result := s.check(c.Request().Context())
	status := http.StatusOK
	if !result.Ready {
		status = http.StatusServiceUnavailable
	}
	if c.QueryParams().Has("verbose") {
		return c.JSON(status, result)
	}
	text := "ok\n"
	if !result.Ready {
		text = "not ready; /readyz?verbose says why\n"
	}
	return c.String(status, text)
}

func (s *Server) check(ctx context.Context) readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]checkResult, len(s.options.Checks)+1)
	results[0] = checkResult{Name: "serving", OK: s.ready.Load()}
	if !results[0].OK {
		results[0].Error = "starting or stopping"
	}
	var wait sync.WaitGroup
	for i, check := range s.options.Checks {
		wait.Go(func() {
			start := time.Now()
			err := check.Check(ctx)
			result := checkResult{Name: check.Name, OK: err == nil, Seconds: time.Since(start).Seconds()}
			if err != nil {
				result.Error = err.Error()
			}
			results[i+1] = result
		})
	}
	wait.Wait()
	all := readiness{Ready: true, Checks: results}
	for _, result := range results {
		all.Ready = all.Ready && result.OK
	}
	return all
}
