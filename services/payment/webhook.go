package payment

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
)

// providerEvent is what is read of a webhook: what it is about. What it says about it is not even looked at.
type providerEvent struct {
	Type    string `json:"type"`
	Created int64  `json:"created"`
	Data    struct {
		Object struct {
			ID string `json:"id"`
			// PaymentIntent is the intent of an object that is none itself, such as a refund.
			PaymentIntent string `json:"payment_intent"`
			Metadata      struct {
				OrderID string `json:"order_id"`
			} `json:"metadata"`
		} `json:"object"`
	} `json:"data"`
}

// readEvent takes a webhook apart; of what has not its form it leaves the fields empty.
func readEvent(body []byte) inbox.Event {
	var e providerEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return inbox.Event{}
	}
	event := inbox.Event{Type: e.Type, Object: e.Data.Object.ID, Reference: e.Data.Object.Metadata.OrderID}
	if e.Data.Object.PaymentIntent != "" {
		event.Object = e.Data.Object.PaymentIntent
	}
	if e.Created > 0 && e.Created < maxCreated {
		event.CreatedAt = time.Unix(e.Created, 0)
	}
	return event
}

// maxCreated keeps a nonsensical time out of the database: 9999-12-31.
const maxCreated = 253402300799

// NewInbox takes the events of the gateway, which wake what the worker has in doubt. The registerer may be nil.
func NewInbox(
	pool *pgxpool.Pool, w *worker.Worker, gateway Gateway, keys []webhook.Key, every, keep time.Duration,
	log *slog.Logger, reg prometheus.Registerer,
) *inbox.Inbox {
	return inbox.New(inbox.Config{
		Source: gateway.Name(), Keys: keys, Read: readEvent, Find: findNews, Every: every, Keep: keep,
	}, pool, w, log, reg)
}

// findNews says which operations may be in doubt about the objects of events. While an authorization is in doubt the
// provider's name of its intent is not known here, and the order that the provider repeats leads to it.
func findNews(ctx context.Context, tx pgx.Tx, events []inbox.Event) ([]inbox.News, error) {
	refs, orders := make([]string, len(events)), make([]*uuid.UUID, len(events))
	for i, e := range events {
		refs[i] = e.Object
		if id, err := uuid.Parse(e.Reference); err == nil {
			orders[i] = &id
		}
	}
	found, err := findOperations(ctx, tx, refs, orders)
	if err != nil {
		return nil, err
	}
	news := make([]inbox.News, len(events))
	for _, f := range found {
		n := &news[f.Event]
		n.Known = true
		if f.Key == nil {
			continue
		}
		effect, err := effectOf(*f.Key, Kind(*f.Kind))
		if err != nil {
			return nil, err
		}
		n.Open = append(n.Open, effect)
	}
	return news, nil
}

// effectOf is the effect whose key OperationKey has extended.
func effectOf(key string, kind Kind) (worker.Effect, error) {
	at := strings.LastIndex(key, "/"+string(kind))
	if at < 0 {
		return worker.Effect{}, fmt.Errorf("idempotency key %s is not one of kind %s", key, kind)
	}
	effect, err := worker.ParseEffectKey(key[:at])
	if err != nil {
		return worker.Effect{}, fmt.Errorf("idempotency key %s: %w", key, err)
	}
	return effect, nil
}
