package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"recourse.dev/pkg/httpserver"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

const (
	// heartbeat is how often a comment is sent while nothing happens; it is also how often the history is read again,
	// in case a change was not noticed.
	heartbeat = 15 * time.Second
	// streamChunk is how many entries are read at a time.
	streamChunk = 200
)

// routes is the generated server with the one operation that needs the connection itself.
type routes struct {
	coordinatorapi.ServerInterface
	api *api
}

// StreamOrderEvents is GET /v1/orders/{order_id}/events. It is not one of the strict operations, whose answers are
// values: this one goes on for as long as the order does.
func (r routes) StreamOrderEvents(
	c echo.Context, id coordinatorapi.OrderID, params coordinatorapi.StreamOrderEventsParams,
) error {
	a, ctx := r.api, c.Request().Context()
	var after int64
	if last := value(params.LastEventID); last != "" {
		var err error
		if after, err = strconv.ParseInt(last, 10, 64); err != nil {
			return httpserver.NewProblem(httpserver.CodeValidationFailed, "Last-Event-ID is the id of an event of this stream.",
				httpserver.WithErrors(httpserver.FieldError{
					Parameter: "Last-Event-ID", In: "header", Code: "range", Detail: "want a number that fits 64 bits",
				}))
		}
	}
	// Before the first look, so that no change falls between the two.
	w := a.watch.add(id)
	defer a.watch.remove(w)
	s, err := a.reader.saga(ctx, id)
	if errors.Is(err, errNotFound) {
		return orderNotFound(id)
	}
	if err != nil {
		return err
	}
	if after > 0 && !s.EndedAt.IsZero() {
		// A browser comes back whenever a stream ends, and this is how it is told that there is nothing to come back for.
		news, err := a.reader.history(ctx, s, after, 1)
		if err != nil {
			return err
		}
		if len(news) == 0 {
			return c.NoContent(http.StatusNoContent)
		}
	}
	stream, err := httpserver.NewEventStream(c)
	if err != nil {
		return err
	}
	defer stream.Close()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		ended, err := a.sendNews(stream.Context(), stream, w, &after)
		if err != nil || ended {
			// The answer is on its way; all that is left is to end it. The client comes back with Last-Event-ID.
			if err != nil && stream.Context().Err() == nil {
				a.log.DebugContext(ctx, "a stream broke", "order_id", id, "error", err)
			}
			return nil
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-w.C:
		case <-beat.C:
			if err := stream.Ping(); err != nil {
				return nil // the client is gone
			}
		}
	}
}

// sendNews sends what the saga met since the last event, and the end if it has come.
func (a *api) sendNews(ctx context.Context, stream *httpserver.EventStream, w *watcher, after *int64) (bool, error) {
	// The saga first: what it met until it ended is then in the history that is read next.
	s, err := a.reader.saga(ctx, w.saga)
	if err != nil {
		return false, err
	}
	for {
		list, err := a.reader.history(ctx, s, *after, streamChunk)
		if err != nil {
			return false, err
		}
		for i := range list {
			data, err := json.Marshal(entryView(&list[i]))
			if err != nil {
				return false, fmt.Errorf("encoding an event: %w", err)
			}
			if err := stream.Send(strconv.FormatInt(list[i].seq, 10), "", string(data)); err != nil {
				return false, err
			}
			*after = list[i].seq
		}
		if len(list) < streamChunk {
			break
		}
	}
	if s.EndedAt.IsZero() {
		return false, nil
	}
	data, err := json.Marshal(map[string]string{"order_id": s.OrderID.String(), "status": s.status.String()})
	if err != nil {
		return false, fmt.Errorf("encoding the end: %w", err)
	}
	return true, stream.Send("", "end", string(data))
}

// StreamOrderEvents makes api complete; routes answers this operation.
func (a *api) StreamOrderEvents(
	context.Context, coordinatorapi.StreamOrderEventsRequestObject,
) (coordinatorapi.StreamOrderEventsResponseObject, error) {
	return nil, errors.New("the stream of events is served by routes")
}
