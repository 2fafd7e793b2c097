package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// retryUnavailable is how long a client is asked to stay away from a service whose database or broker is away.
const retryUnavailable = 2 * time.Second

// handleError turns whatever a handler returned into a problem. It is the one place that does.
func (s *Server) handleError(err error, c echo.Context) {
	ctx := c.Request().Context()
	p := s.problemOf(err)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		s.logFor(c, slog.LevelDebug).DebugContext(ctx, "the client went away", "error", err)
		return
	case p.Status() >= http.StatusInternalServerError:
		s.logFor(c, slog.LevelError).ErrorContext(ctx, "request failed", "code", p.Code, "status", p.Status(), "error", err)
	default:
		s.logFor(c, slog.LevelDebug).DebugContext(ctx, "request refused", "code", p.Code, "status", p.Status(), "error", err)
	}
	if c.Response().Committed {
		// Part of an answer is out; breaking the connection is all that tells the client that the rest is missing.
		panic(http.ErrAbortHandler)
	}
	if err := writeProblem(c, p); err != nil {
		s.logFor(c, slog.LevelDebug).DebugContext(ctx, "writing a problem failed", "error", err)
	}
}

var nobody = slog.New(slog.DiscardHandler)

// logFor logs about a request. What nobody wants to read costs next to nothing.
func (s *Server) logFor(c echo.Context, level slog.Level) *slog.Logger {
	ctx := c.Request().Context()
	if !s.options.Log.Enabled(ctx, level) {
		return nobody
	}
	return s.options.Log.With("method", c.Request().Method, "route", c.Path(), "request_id", RequestID(ctx))
}

func writeProblem(c echo.Context, p *Problem) error {
	sent := *p
	sent.Instance = c.Request().URL.Path
	sent.RequestID = RequestID(c.Request().Context())
	body, err := sent.MarshalJSON() // json.Marshal would read it all once more
	if err != nil {
		return fmt.Errorf("encoding a problem: %w", err)
	}
	header := c.Response().Header()
	header.Set(echo.HeaderCacheControl, "no-store")
	if sent.RetryAfter > 0 {
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(retrySeconds(sent.RetryAfter)))
	}
	return c.Blob(sent.Status(), ContentTypeProblem, body)
}

func (s *Server) problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		if _, known := byCode[p.Code]; !known {
			return NewProblem(CodeInternal, "", WithCause(err))
		}
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return NewProblem(CodeBodyTooLarge, fmt.Sprintf("The body may have %d bytes at most.", tooLarge.Limit))
	}
	if fromEcho, ok := errors.AsType[*echo.HTTPError](err); ok {
		return problemOfEcho(fromEcho)
	}
	if errors.Is(err, context.DeadlineExceeded) || s.options.Unavailable != nil && s.options.Unavailable(err) {
		return NewProblem(CodeUnavailable,
			"Something that we need to answer is away for the moment. Nothing was lost; please repeat the request.",
			WithRetryAfter(retryUnavailable), WithCause(err))
	}
	return NewProblem(CodeInternal, "The request id finds the cause in our logs.", WithCause(err))
}

// problemOfEcho maps what the router and the generated code say.
func problemOfEcho(err *echo.HTTPError) *Problem {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err.Internal); ok {
		pointer := ""
		if wrong.Field != "" {
			pointer = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
		}
		return NewProblem(CodeValidationFailed, "The body does not follow the API's description.", WithErrors(FieldError{
			Pointer: pointer, Code: "type", Detail: fmt.Sprintf("%s is not wanted here", wrong.Value),
		}), WithCause(err))
	}
	switch err.Code {
	case http.StatusNotFound:
		return NewProblem(CodeNotFound, "Check the path; the API's description lists them all.")
	case http.StatusMethodNotAllowed:
		return NewProblem(CodeMethodNotAllowed, "The header Allow lists the methods of this path.")
	case http.StatusRequestEntityTooLarge:
		return NewProblem(CodeBodyTooLarge, "Send a smaller body.")
	case http.StatusUnsupportedMediaType:
		return NewProblem(CodeUnsupportedMediaType, "Send application/json.")
	case http.StatusBadRequest:
		// Parameters that the generated code could not bind; the text names the parameter, not its value.
		return NewProblem(CodeValidationFailed, fmt.Sprint(err.Message), WithCause(err))
	default:
		return NewProblem(CodeInternal, "The request id finds the cause in our logs.", WithCause(err))
	}
}
