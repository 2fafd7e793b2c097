package shipping

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
)

// carrierEvent is what is read of a webhook: what it is about. What it says about it is not even looked at.
type carrierEvent struct {
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"created_at"`
	Result      struct {
		ShipmentID string `json:"shipment_id"`
		Reference  string `json:"reference"`
	} `json:"result"`
}

// readEvent takes a webhook apart; of what has not its form it leaves the fields empty.
func readEvent(body []byte) inbox.Event {
	var e carrierEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return inbox.Event{}
	}
	event := inbox.Event{Type: e.Description, Object: e.Result.ShipmentID, Reference: e.Result.Reference}
	if year := e.CreatedAt.Year(); year >= 1970 && year <= 9999 {
		event.CreatedAt = e.CreatedAt
	}
	return event
}

// newInbox takes the events of the carrier, which wake what the worker has in doubt. The registerer may be nil.
func newInbox(
	pool *pgxpool.Pool, w *worker.Worker, source string, keys []webhook.Key, every, keep time.Duration,
	log *slog.Logger, reg prometheus.Registerer,
) *inbox.Inbox {
	return inbox.New(inbox.Config{
		Source: source, Keys: keys, Read: readEvent, Find: findNews, Every: every, Keep: keep,
	}, pool, w, log, reg)
}

// findNews says which shipments may be in doubt about the objects of events. The reference that the carrier repeats is
// the shipment's own id.
func findNews(ctx context.Context, tx pgx.Tx, events []inbox.Event) ([]inbox.News, error) {
	refs, ids := make([]string, len(events)), make([]*uuid.UUID, len(events))
	for i, e := range events {
		refs[i] = e.Object
		if id, err := uuid.Parse(e.Reference); err == nil {
			ids[i] = &id
		}
	}
	found, err := findShipments(ctx, tx, refs, ids)
	if err != nil {
		return nil, err
	}
	news := make([]inbox.News, len(events))
	for _, f := range found {
		n := &news[f.Event]
		n.Known = true
		if f.Open {
			n.Open = append(n.Open, worker.Effect{SagaID: f.SagaID, Step: f.Step, Generation: int(f.Generation)})
		}
	}
	return news, nil
}
