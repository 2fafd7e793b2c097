package httpserver_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	r := start(t, httpserver.Options{Checks: []httpserver.Check{
		{Name: "database", Check: func(context.Context) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}},
		{Name: "broker", Check: func(context.Context) error { return nil }},
	}}, nil)
	require.Equal(t, "ok\n", r.do(t, "GET", "/livez", "").body)
	a := r.do(t, "GET", "/readyz", "")
	require.Equal(t, http.StatusOK, a.status)
	a = r.do(t, "GET", "/readyz?verbose", "")
	require.Contains(t, a.body, `"name":"broker","ok":true`)

	away.Store(true)
	require.Equal(t, http.StatusServiceUnavailable, r.do(t, "GET", "/readyz", "").status)
	a = r.do(t, "GET", "/readyz?verbose", "")
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Contains(t, a.body, `"name":"database","ok":false,"error":"connection refused"`)
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/livez", "").status)

	require.Contains(t, r.do(t, "GET", "/version", "").body, `"version":`)
}

// Requests are counted by route; what a client makes up is no label.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	r := start(t, httpserver.Options{Registry: registry}, func(e *echo.Echo) {
		orders(e)
		e.DELETE("/v1/orders/:id", func(echo.Context) error {
			return httpserver.NewProblem(httpserver.CodeOrderNotFound, "No.")
		})
	})
	r.do(t, "GET", "/v1/orders/17", "")
	r.do(t, "GET", "/v1/orders/18", "")
	r.do(t, "DELETE", "/v1/orders/18", "")
	r.do(t, "GET", "/made/up", "")
	r.do(t, "BREW", "/v1/orders", "")
	text := r.do(t, "GET", "/metrics", "").body
	for _, line := range []string{
		`recourse_http_request_seconds_count{method="GET",route="/v1/orders/:id",status="200"} 2`,
		`recourse_http_request_seconds_count{method="DELETE",route="/v1/orders/:id",status="404"} 1`,
		`recourse_http_request_seconds_count{method="none",route="none",status="404"} 1`,
		`recourse_http_request_seconds_count{method="none",route="none",status="405"} 1`,
	} {
		require.Contains(t, text, line)
	}
	require.NotContains(t, text, "made/up")
	require.NotContains(t, text, "BREW")
}

// On the way down readiness turns red first, and requests in hand finish.
func TestRun_drains(t *testing.T) {
	t.Parallel()
	inHand, goOn, stopping := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := start(t, httpserver.Options{}, func(e *echo.Echo) {
		e.GET("/slow", func(c echo.Context) error {
			close(inHand)
			<-httpserver.Stopping(c.Request().Context())
			close(stopping)
			<-goOn
			return c.String(http.StatusOK, "finished")
		})
	})
	answers := make(chan answer, 1)
	go func() { answers <- r.do(t, "GET", "/slow", "") }()
	<-inHand
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	<-stopping
	close(goOn)
	require.Equal(t, "finished", (<-answers).body)
	require.NoError(t, <-stopped)
}
