package httpserver

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// retryCrowded is how long a client is asked to stay away from a server that answers as many requests as it may.
const retryCrowded = time.Second

// limit bounds the requests that are answered at a time, and among them the streams, which last. Health is let through:
// a server that is busy is not dead.
type limit struct {
	requests, streams       atomic.Int64
	maxRequests, maxStreams int64
}

func (l *limit) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if isHealthPath(c.Path()) {
			return next(c)
		}
		defer l.requests.Add(-1)
		if l.requests.Add(1) > l.maxRequests {
			return crowded("The server answers as many requests as it can.")
		}
		knownOf(c.Request().Context()).limit = l
		return next(c)
	}
}

// enterStream takes a place for a stream; leave gives it back.
func enterStream(c echo.Context) (leave func(), err error) {
	l := knownOf(c.Request().Context()).limit
	if l == nil {
		return func() {}, nil // no Server serves this request
	}
	if l.streams.Add(1) > l.maxStreams {
		l.streams.Add(-1)
		return nil, crowded("The server serves as many streams as it can.")
	}
	return sync.OnceFunc(func() { l.streams.Add(-1) }), nil
}

func crowded(detail string) error {
	return NewProblem(CodeOverloaded, detail+" Please repeat the request.", WithRetryAfter(retryCrowded))
}

// boundedListener accepts no more connections than it has places. The rest wait in the kernel's queue, which is bounded
// too, and cost this process nothing.
type boundedListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBoundedListener(l net.Listener, n int) *boundedListener {
	return &boundedListener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite is what the server ends an answer with whose request it has not read to the end.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
