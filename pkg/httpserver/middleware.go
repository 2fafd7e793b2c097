package httpserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/pkg/service"
)

// known is what a server knows of a request, in one value of the request's context: each more would copy the request.
type known struct {
	id   string
	body []byte
	// limit is what the request counts against.
	limit *limit
}

type knownKey struct{}

func knownOf(ctx context.Context) *known {
	if k, ok := ctx.Value(knownKey{}).(*known); ok {
		return k
	}
	return &known{} // no Server serves this request
}

// RequestID is the id under which the log and the client know this request.
func RequestID(ctx context.Context) string { return knownOf(ctx).id }

// Body is the request's body as it came, for a handler that has to know every byte of it, as a signature does. It is
// read, never changed.
func Body(ctx context.Context) []byte { return knownOf(ctx).body }

// What a client may call its request: short and harmless in a log, a header and a page.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// identify takes the client's X-Request-Id or gives one, and sends it back.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if id == "" || !requestIDPattern.MatchString(id) {
			id = uuid.Must(uuid.NewV7()).String()
		}
		header := c.Response().Header()
		header.Set(echo.HeaderXRequestID, id)
		header.Set(echo.HeaderXContentTypeOptions, "nosniff")
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), knownKey{}, &known{id: id})))
		return next(c)
	}
}

// observe counts requests by route, never by path: paths hold ids. It renders errors itself, because the status is only
// known afterwards.
func (s *Server) observe() echo.MiddlewareFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "recourse_http",
		Name:      "request_seconds",
		Help:      "Time from a request's header to the end of its response.",
		Buckets:   prometheus.ExponentialBuckets(0.001, 2, 16),
	}, []string{"method", "route", "status"})
	s.options.Registry.MustRegister(seconds)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := time.Now()
			err := next(c)
			if _, answered := errors.AsType[*answeredError](err); err != nil && !answered {
				c.Error(err)
			}
			method, route := labels(c, err)
			seconds.WithLabelValues(method, route, strconv.Itoa(c.Response().Status)).Observe(time.Since(start).Seconds())
			return nil
		}
	}
}

// labels are the method and the route of a request, for metrics and traces.
func labels(c echo.Context, err error) (method, route string) {
	if errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
		// Method and path are the client's invention here and must not become labels.
		return "none", "none"
	}
	return c.Request().Method, c.Path()
}

// answeredError is an error that the client has got its answer about.
type answeredError struct{ error }

func (e *answeredError) Unwrap() error { return e.error }

type tracedKey struct{}

// traced is a request on its way through the tracing, which knows nothing of echo.
type traced struct {
	c    echo.Context
	next echo.HandlerFunc
	err  error
}

// answer calls the handler and answers its error, if it has one, so that who comes after it knows the status.
func (s *Server) answer(c echo.Context, next echo.HandlerFunc) error {
	if err := s.recoverPanic(next)(c); err != nil {
		c.Error(err)
		return &answeredError{err}
	}
	return nil
}

// tracing makes a span of a request where the process is traced, and answers errors so that the span knows the status.
// Requests that are refused because there are too many do not come here: a span costs more than the refusal.
func (s *Server) tracing() echo.MiddlewareFunc {
	if !service.Traced() {
		return func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error { return s.answer(c, next) }
		}
	}
	// Made once: echo calls the function that is returned here for every request.
	handler := otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := r.Context().Value(tracedKey{}).(*traced) //nolint:forcetypeassert // as it was put there below
		t.c.SetRequest(r)
		t.c.Response().Writer = w
		t.err = s.answer(t.c, t.next)
		method, route := labels(t.c, t.err)
		span := trace.SpanFromContext(r.Context())
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.route", route))
	}), "http")
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if isHealthPath(c.Path()) {
				return next(c)
			}
			t, w := &traced{c: c, next: next}, c.Response().Writer
			defer func() { c.Response().Writer = w }()
			handler.ServeHTTP(w, c.Request().WithContext(context.WithValue(c.Request().Context(), tracedKey{}, t)))
			return t.err
		}
	}
}

// recoverPanic makes an error of a panic, so that one request cannot end the process.
func (s *Server) recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler:
				panic(r) // the server's own way of breaking a connection
			default:
				err = fmt.Errorf("handling the request panicked: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}

// refuseCrossOrigin keeps web pages of other origins from changing anything with the rights or the network place of the
// person who looks at them. Programs, which send neither Origin nor Sec-Fetch-Site, are not concerned.
func refuseCrossOrigin() echo.MiddlewareFunc {
	protection := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := protection.Check(c.Request()); err != nil {
				return NewProblem(CodeCrossOriginRefused, "Send the request from a program or from a page of this origin.",
					WithCause(err))
			}
			return next(c)
		}
	}
}

// deadlines gives the request's body and the response their time, also where the body is not read: the server itself
// reads what is left of it before it sends an answer. Deadlines are set on the connection for each request because the
// server's own timeouts would also end streams.
func (s *Server) deadlines(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := c.Request()
		deadlines := http.NewResponseController(c.Response().Writer)
		if err := deadlines.SetWriteDeadline(time.Now().Add(s.options.WriteTimeout)); ignoreUnsupported(err) != nil {
			return fmt.Errorf("setting the write deadline: %w", err)
		}
		if request.Body == nil || request.Body == http.NoBody {
			return next(c)
		}
		if err := deadlines.SetReadDeadline(time.Now().Add(s.options.ReadTimeout)); ignoreUnsupported(err) != nil {
			return fmt.Errorf("setting the read deadline: %w", err)
		}
		return next(c)
	}
}

// readBody reads the whole body under a limit of size, and of the time that deadlines set.
func (s *Server) readBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := c.Request()
		if request.Body == nil || request.Body == http.NoBody {
			return next(c)
		}
		body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, request.Body, s.options.BodyLimit))
		if err != nil {
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				return err
			}
			return NewProblem(CodeMalformedJSON, "The body did not arrive whole and in time.", WithCause(err))
		}
		// Back to none, or the server would take the passing of the deadline for the client's going away.
		deadlines := http.NewResponseController(c.Response().Writer)
		if err := deadlines.SetReadDeadline(time.Time{}); ignoreUnsupported(err) != nil {
			return fmt.Errorf("clearing the read deadline: %w", err)
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		request.ContentLength = int64(len(body))
		knownOf(request.Context()).body = body
		return next(c)
	}
}

// ignoreUnsupported: a test's recorder has no connection to set a deadline on.
func ignoreUnsupported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
