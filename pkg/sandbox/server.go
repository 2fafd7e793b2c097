package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// drainTimeout is how long requests in hand may take when the server stops.
const drainTimeout = 5 * time.Second

// Server is a plain HTTP server with the life that every part of the platform has: Listen, then Run until the
// context ends.
type Server struct {
	addr     string
	http     *http.Server
	log      *slog.Logger
	listener net.Listener

	mu     sync.Mutex
	unused map[net.Conn]struct{} // connections that have sent nothing yet
}

// NewServer makes a server for an address such as "127.0.0.1:0". onStop is called when it begins to stop, before it
// waits for the requests in hand; it may be nil.
func NewServer(addr string, handler http.Handler, log *slog.Logger, onStop func()) *Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if onStop != nil {
		server.RegisterOnShutdown(onStop)
	}
	s := &Server{addr: addr, http: server, log: log, unused: map[net.Conn]struct{}{}}
	// Shutdown would wait for connections that were opened and never used, which HTTP clients keep in reserve.
	server.ConnState = s.track
	server.RegisterOnShutdown(s.closeUnused)
	return s
}

// Listen binds the address. A second call does nothing.
func (s *Server) Listen() error {
	if s.listener != nil {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.addr, err)
	}
	s.listener = listener
	return nil
}

// Addr is host:port, the bound one after Listen.
func (s *Server) Addr() string {
	if s.listener == nil {
		return s.addr
	}
	return s.listener.Addr().String()
}

// URL is the base address for clients.
func (s *Server) URL() string {
	return "http://" + s.Addr()
}

// Handler is what is served, for callers in this process.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Run serves until ctx ends, then finishes the requests in hand. It returns nil when it was asked to stop.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil { //nolint:contextcheck // binding an address takes no time
		return err
	}
	s.log.InfoContext(ctx, "listening", "url", s.URL())
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := s.http.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("draining %s: %w", s.Addr(), err), s.http.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

func (s *Server) track(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.unused[conn] = struct{}{}
	} else {
		delete(s.unused, conn)
	}
}

func (s *Server) closeUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.unused {
		_ = conn.Close()
	}
}
