package httpserver

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// EventStream answers a request with server-sent events.
type EventStream struct {
	response *echo.Response
	control  *http.ResponseController
	ctx      context.Context
	cancel   context.CancelFunc
	leave    func()
}

// eventTimeout bounds the writing of one event; a reader that takes longer is gone or hostile.
const eventTimeout = 10 * time.Second

// NewEventStream starts the answer. The caller closes the stream and sends until its Context ends: with the request, or
// when the server stops.
func NewEventStream(c echo.Context) (*EventStream, error) {
	leave, err := enterStream(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	s := &EventStream{
		leave:    leave,
		response: c.Response(),
		control:  http.NewResponseController(c.Response().Writer),
		ctx:      ctx,
		cancel:   cancel,
	}
	if stopping := Stopping(ctx); stopping != nil {
		go func() {
			select {
			case <-stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	header := s.response.Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	// Proxies that collect a response before they pass it on would hold the events back.
	header.Set("X-Accel-Buffering", "no")
	s.response.WriteHeader(http.StatusOK)
	if err := s.write(": ok\n\n"); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Context ends when the stream should.
func (s *EventStream) Context() context.Context { return s.ctx }

// Close ends the stream's context and gives its place to another one.
func (s *EventStream) Close() {
	s.cancel()
	s.leave()
}

// Send writes one event. The id is what the client sends as Last-Event-ID when it comes back; name may be empty.
func (s *EventStream) Send(id, name, data string) error {
	var b strings.Builder
	for field, value := range map[string]string{"id": id, "event": name} {
		if strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("sending an event: %s %q has a line break", field, value)
		}
	}
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	for line := range strings.Lines(strings.ReplaceAll(data, "\r", "")) {
		b.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
	}
	b.WriteString("\n")
	return s.write(b.String())
}

// Ping writes a comment, so that neither side nor a proxy takes the silence for death.
func (s *EventStream) Ping() error { return s.write(": ping\n\n") }

func (s *EventStream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventTimeout)); ignoreUnsupported(err) != nil {
		return fmt.Errorf("setting an event's deadline: %w", err)
	}
	if _, err := s.response.Write([]byte(text)); err != nil {
		return fmt.Errorf("sending an event: %w", err)
	}
	if err := s.control.Flush(); ignoreUnsupported(err) != nil {
		return fmt.Errorf("sending an event: %w", err)
	}
	return nil
}
