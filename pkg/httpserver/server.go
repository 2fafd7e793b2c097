package httpserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/service"
)

// Options say what a server serves and how much it takes.
type Options struct {
	// Addr is host:port; port 0 takes a free one, see Server.Addr.
	Addr string
	// Spec is the OpenAPI document that requests are validated against; nil: none are. Its paths are those of the server:
	// a base path in its servers is not looked at.
	Spec *openapi3.T
	// Checks decide about readiness.
	Checks []Check
	// Registry is what /metrics shows and where the server counts its own requests. Nil: a new one.
	Registry *prometheus.Registry
	Log      *slog.Logger
	// Unavailable recognises errors of a database or broker that is away; they become 503 with Retry-After.
	Unavailable func(error) bool
	// BodyLimit in bytes. Default 64 KiB.
	BodyLimit int64
	// ReadTimeout bounds the arrival of a request's header and, again, of its body. Default 10s.
	ReadTimeout time.Duration
	// WriteTimeout bounds a response from the arrival of the request on, waiting included. Default 90s.
	WriteTimeout time.Duration
	// MaxRequests bounds the requests that are answered at a time; more get 429. Default 2048.
	MaxRequests int
	// MaxStreams bounds the event streams among them. Default half of MaxRequests.
	MaxStreams int
	// MaxConnections bounds the connections; more are not accepted until others end. Default 4096.
	MaxConnections int
	// Before runs before a request's body is read, after the limits and before the tracing: for refusals that must be
	// cheap.
	Before []echo.MiddlewareFunc
	// DrainTimeout bounds how long requests in hand may take when the server stops. Default 10s.
	DrainTimeout time.Duration
}

// Server is an echo server with everything around it.
type Server struct {
	options  Options
	echo     *echo.Echo
	http     *http.Server
	listener net.Listener
	// stopping is closed when the server begins to stop; streams end on it.
	stopping chan struct{}
	ready    atomic.Bool
}

// New makes the server; routes are registered at Echo before Run.
func New(options Options) (*Server, error) {
	options.BodyLimit = cmp.Or(options.BodyLimit, 64<<10)
	options.ReadTimeout = cmp.Or(options.ReadTimeout, 10*time.Second)
	options.WriteTimeout = cmp.Or(options.WriteTimeout, 90*time.Second)
	options.DrainTimeout = cmp.Or(options.DrainTimeout, 10*time.Second)
	options.MaxRequests = cmp.Or(options.MaxRequests, 2048)
	options.MaxStreams = cmp.Or(options.MaxStreams, max(1, options.MaxRequests/2))
	options.MaxConnections = cmp.Or(options.MaxConnections, 4096)
	if options.Registry == nil {
		options.Registry = prometheus.NewRegistry()
	}
	if options.Log == nil {
		return nil, errors.New("making an HTTP server: Log is required")
	}
	s := &Server{options: options, echo: echo.New(), stopping: make(chan struct{})}
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.handleError
	bound := &limit{maxRequests: int64(options.MaxRequests), maxStreams: int64(options.MaxStreams)}
	s.echo.Use(s.identify, s.observe(), s.recoverPanic, s.deadlines, bound.middleware, refuseCrossOrigin())
	s.echo.Use(options.Before...)
	s.echo.Use(s.tracing(), s.readBody)
	if options.Spec != nil {
		validate, err := newValidator(options.Spec)
		if err != nil {
			return nil, fmt.Errorf("making an HTTP server: %w", err)
		}
		s.echo.Use(validate.middleware)
	}
	s.addHealth()
	s.http = &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: options.ReadTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stoppingKey{}, s.stopping)
		},
		ErrorLog: slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Echo is where routes are registered.
func (s *Server) Echo() *echo.Echo { return s.echo }

// Handler is the whole server without a listener, for tests.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Listen takes the address, so that Addr is known before Run.
func (s *Server) Listen(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.options.Addr)
	if err != nil {
		return fmt.Errorf("listening on HTTP_ADDR=%s: %w", s.options.Addr, err)
	}
	s.listener = newBoundedListener(listener, s.options.MaxConnections)
	return nil
}

// Addr is host:port after Listen.
func (s *Server) Addr() string {
	if s.listener == nil {
		return s.options.Addr
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends and then lets requests in hand finish.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	s.ready.Store(true)
	s.options.Log.InfoContext(ctx, "serving HTTP", "addr", s.Addr())
	select {
	case err := <-served:
		s.ready.Store(false)
		close(s.stopping)
		return fmt.Errorf("serving HTTP at %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	s.ready.Store(false)
	close(s.stopping)
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.DrainTimeout)
	defer cancel()
	err := s.http.Shutdown(drainCtx)
	if err != nil {
		err = errors.Join(fmt.Errorf("draining HTTP: %w", err), s.http.Close())
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Component is the server as a part of a process.
func (s *Server) Component() service.Component {
	return service.Component{Name: "http", Start: s.Listen, Run: s.Run}
}

type stoppingKey struct{}

// Stopping is closed when the server that serves this request begins to stop. A handler that waits for something long
// should stop waiting then. It is nil, which never comes, for a request that no Server serves.
func Stopping(ctx context.Context) <-chan struct{} {
	stopping, _ := ctx.Value(stoppingKey{}).(chan struct{})
	return stopping
}
