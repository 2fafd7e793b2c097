package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// A line is a client of one server: HTTP/1.1 over connections that are kept, the one that was used last first.
//
// The generator shares its machine with what it measures, and most of what it sends in an overload is refused: what
// sending costs is taken from the work. net/http hands each request to a goroutine that writes and its answer to one
// that reads, which costs more than all that is sent; here whoever asks writes and reads by itself.
type line struct {
	addr   string
	places chan struct{}
	// wrong says why there is no such server; every call says so.
	wrong error

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

type conn struct {
	net.Conn
	r *bufio.Reader
	// w is where requests are put together.
	w bytes.Buffer
}

// answerTimeout is how long an answer may take.
const answerTimeout = 30 * time.Second

// newLine makes a client of the server at http://host:port with at most so many connections.
func newLine(base string, connections int) *line {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.Path != "" {
		return &line{wrong: fmt.Errorf("%q: want http://host:port", base)}
	}
	return &line{addr: u.Host, places: make(chan struct{}, connections)}
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.idle {
		_ = c.Close() // nothing is on its way
	}
	l.idle = nil
}

// answer is what a server said. Of the header it keeps what a shop looks at.
type answer struct {
	status               int
	location, retryAfter string
	body                 []byte
}

// call sends a request and reads the answer to its end. A connection that the server has given up in the meantime is
// replaced once, as net/http does for requests with a key.
func (l *line) call(ctx context.Context, method, path, key string, body []byte) (answer, error) {
	if l.wrong != nil {
		return answer{}, l.wrong
	}
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	c, used, err := l.take(ctx)
	if err != nil {
		return answer{}, err
	}
	a, err := l.ask(ctx, c, method, path, key, body)
	if used && gone(err) && ctx.Err() == nil {
		if c, err = l.dial(ctx); err != nil {
			return answer{}, err
		}
		a, err = l.ask(ctx, c, method, path, key, body)
	}
	return a, err
}

// goneError says that a connection broke before the first byte of the answer.
type goneError struct{ error }

func (e *goneError) Unwrap() error { return e.error }

func gone(err error) bool {
	_, ok := errors.AsType[*goneError](err)
	return ok
}

// post sends a body as JSON.
func (l *line) post(ctx context.Context, path, key string, body any) (answer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("encoding a request: %w", err)
	}
	return l.call(ctx, http.MethodPost, path, key, data)
}

func (l *line) ask(ctx context.Context, c *conn, method, path, key string, body []byte) (a answer, err error) {
	keep := false
	defer func() {
		if !keep {
			_ = c.Close() // it is no good any more
		}
	}()
	if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return a, err
	}
	// A deadline that has passed is how a read is woken.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c.write(l.addr, method, path, key, body)
	if _, err := c.Write(c.w.Bytes()); err != nil {
		return a, &goneError{err}
	}
	if _, err := c.r.Peek(1); err != nil {
		return a, &goneError{err}
	}
	a, last, err := c.read()
	if err != nil {
		return a, fmt.Errorf("reading an answer: %w", err)
	}
	if keep = !last && stop(); keep {
		keep = l.give(c)
	}
	return a, nil
}

// read reads an answer to its end, so that the connection can be kept, and says whether it was the connection's last one.
func (c *conn) read() (a answer, last bool, err error) {
	if a, ok := c.readPlain(); ok {
		return a, false, nil
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return a, false, err
	}
	a = answer{
		status: resp.StatusCode, location: resp.Header.Get("Location"), retryAfter: resp.Header.Get("Retry-After"),
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return a, resp.Close, errors.Join(err, resp.Body.Close())
}

// readPlain reads an answer that has arrived whole and says its length, as nearly all do, without making a map of its
// header. Anything else it leaves to be read.
func (c *conn) readPlain() (a answer, ok bool) {
	arrived, _ := c.r.Peek(c.r.Buffered()) // no more than is there
	head, rest, whole := bytes.Cut(arrived, []byte("\r\n\r\n"))
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	if !whole || len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, false
	}
	status, err := strconv.Atoi(string(line[9:12]))
	length := -1
	for len(head) > 0 && err == nil {
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			length, err = strconv.Atoi(string(value))
		case "Location":
			a.location = string(value)
		case "Retry-After":
			a.retryAfter = string(value)
		case "Connection", "Transfer-Encoding":
			return answer{}, false
		}
	}
	if err != nil || length < 0 || length > len(rest) {
		return answer{}, false
	}
	a.status, a.body = status, bytes.Clone(rest[:length])
	_, err = c.r.Discard(len(arrived) - len(rest) + length)
	return a, err == nil
}

// write puts a request together, to be sent at once.
func (c *conn) write(host, method, path, key string, body []byte) {
	w := &c.w
	w.Reset()
	for _, s := range [...]string{method, " ", path, " HTTP/1.1\r\nHost: ", host, "\r\n"} {
		w.WriteString(s)
	}
	if key != "" {
		w.WriteString("Idempotency-Key: ")
		w.WriteString(key)
		w.WriteString("\r\n")
	}
	if body != nil {
		w.WriteString("Content-Type: application/json\r\nContent-Length: ")
		w.WriteString(strconv.Itoa(len(body)))
		w.WriteString("\r\n")
	}
	w.WriteString("\r\n")
	w.Write(body)
}

func (l *line) take(ctx context.Context) (c *conn, used bool, err error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		c, l.idle = l.idle[n-1], l.idle[:n-1]
		l.mu.Unlock()
		return c, true, nil
	}
	l.mu.Unlock()
	c, err = l.dial(ctx)
	return c, false, err
}

func (l *line) dial(ctx context.Context) (*conn, error) {
	dialer := net.Dialer{Timeout: answerTimeout}
	c, err := dialer.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

// give keeps a connection for the next request; it is false when nobody will want it.
func (l *line) give(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.idle = append(l.idle, c)
	return true
}
