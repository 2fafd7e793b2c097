package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/message"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// outbox publishes domain events: from memory right after the commit that wrote them, and from the table whatever a
// crash or a broker's absence left there. Rows are marked as published later, many at a time: a crash before it publishes
// them again, with the same ids, and a commit for each row would stand in the way of those that orders wait for.
type outbox struct {
	pool   *pgxpool.Pool
	client *kgo.Client
	topic  string
	log    *slog.Logger
	// committed hands rows over from the write path. When it is full they are left to the table.
	committed chan published
	// unmarked are the rows that were published since the last mark; run's alone.
	unmarked []outboxRow
}

// published is a row of the outbox and its events.
type published struct {
	outboxRow
	events []*orderv1.OutboxEvent
}

const (
	// relayEvery is how often the table is looked at.
	relayEvery = 3 * time.Second
	// markPublished is how long published rows may wait for their mark; far less than outboxLease, behind which others publish
	// them again.
	markPublished = time.Second
	// maxOutboxRows bounds how many rows are published and marked at a time.
	maxOutboxRows = 200
)

func newOutbox(pool *pgxpool.Pool, client *kgo.Client, topic string, log *slog.Logger) *outbox {
	return &outbox{pool: pool, client: client, topic: topic, log: log, committed: make(chan published, 1024)}
}

// hear takes the events of a committed turn. It never blocks the write path.
func (o *outbox) hear(t *turn) {
	if len(t.facts) == 0 {
		return
	}
	select {
	case o.committed <- published{outboxRow: t.outbox, events: t.facts}:
	default:
	}
}

// run publishes until ctx ends, and marks what it has published.
func (o *outbox) run(ctx context.Context) error {
	ticker, marks := time.NewTicker(relayEvery), time.NewTicker(markPublished)
	defer ticker.Stop()
	defer marks.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := o.mark(last); err != nil {
				o.log.WarnContext(ctx, "domain events will be published again", "error", err)
			}
			return nil
		case first := <-o.committed:
			err = o.publish(ctx, o.gather(first))
			if err == nil && len(o.unmarked) >= maxOutboxRows {
				err = o.mark(ctx)
			}
		case <-marks.C:
			err = o.mark(ctx)
		case <-ticker.C:
			err = o.relay(ctx)
		}
		if err != nil && ctx.Err() == nil {
			o.log.WarnContext(ctx, "publishing domain events failed; they stay in the outbox", "error", err)
		}
	}
}

// gather takes what else is waiting.
func (o *outbox) gather(first published) []published {
	rows := []published{first}
	for len(rows) < maxOutboxRows {
		select {
		case next := <-o.committed:
			rows = append(rows, next)
		default:
			return rows
		}
	}
	return rows
}

// publish writes the events and remembers their rows as published.
func (o *outbox) publish(ctx context.Context, rows []published) error {
	var records []*kgo.Record
	for _, row := range rows {
		for _, ev := range row.events {
			record, err := o.record(ev)
			if err != nil {
				return err
			}
			records = append(records, record)
		}
	}
	if err := kafka.Produce(ctx, o.client, records); err != nil {
		return fmt.Errorf("publishing %d domain events: %w", len(records), err)
	}
	for _, row := range rows {
		o.unmarked = append(o.unmarked, row.outboxRow)
	}
	if err := crash.Fail(crash.CoordinatorAfterEvents); err != nil {
		return fmt.Errorf("publishing %d domain events: %w", len(records), err)
	}
	return nil
}

const markSQL = `
UPDATE outbox AS o
SET published_at = clock_timestamp()
FROM unnest($1::bigint[], $2::timestamptz[]) AS u (id, at)
WHERE o.id = u.id AND o.at = u.at AND o.at >= $3 AND o.at <= $4`

// mark writes down what has been published. Rows whose mark fails are published again when their lease has ended.
func (o *outbox) mark(ctx context.Context) error {
	rows := o.unmarked
	if len(rows) == 0 {
		return nil
	}
	o.unmarked = nil
	ids, ats := make([]int64, len(rows)), make([]time.Time, len(rows))
	first, last := rows[0].at, rows[0].at
	for i, row := range rows {
		ids[i], ats[i] = row.id, row.at
		if row.at.Before(first) {
			first = row.at
		}
		if row.at.After(last) {
			last = row.at
		}
	}
	// The bounds let the planner leave the partitions of other months alone.
	if _, err := o.pool.Exec(ctx, markSQL, ids, ats, first, last); err != nil {
		return fmt.Errorf("marking %d rows of the outbox: %w", len(rows), err)
	}
	return crash.Fail(crash.CoordinatorAfterMark)
}

// record is the event as it is published; its body is encoded since it was decided about.
func (o *outbox) record(ev *orderv1.OutboxEvent) (*kgo.Record, error) {
	record, err := message.Encoded(o.topic, ev.GetOrderId(), ev.GetType(), ev.GetBody(), message.Event{
		ID: ev.GetId(), Source: Source, Subject: ev.GetOrderId(), CorrelationID: ev.GetSagaId(), Time: ev.GetAt().AsTime(),
	})
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", ev.GetId(), err)
	}
	return record, nil
}

// Rows are claimed by their state and for a while, so that no transaction is open while the broker is asked, and two
// coordinators do not publish the same ones.
const claimOutboxSQL = `
UPDATE outbox AS o
SET claimed_until = clock_timestamp() + $2::interval
FROM (
    SELECT id, at
    FROM outbox
    WHERE published_at IS NULL AND claimed_until < clock_timestamp()
    ORDER BY id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) AS due
WHERE o.id = due.id AND o.at = due.at
RETURNING o.id, o.at, o.body`

// relay publishes what the table still holds.
func (o *outbox) relay(ctx context.Context) error {
	for {
		found, err := o.pool.Query(ctx, claimOutboxSQL, maxOutboxRows, outboxLease)
		if err != nil {
			return fmt.Errorf("claiming rows of the outbox: %w", err)
		}
		rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (published, error) {
			var (
				p    published
				body []byte
				b    orderv1.OutboxBatch
			)
			if err := row.Scan(&p.id, &p.at, &body); err != nil {
				return p, err
			}
			err := proto.Unmarshal(body, &b)
			p.events = b.GetEvents()
			return p, err
		})
		if err != nil {
			return fmt.Errorf("reading rows of the outbox: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		if err := crash.Fail(crash.CoordinatorAfterRelayClaim); err != nil {
			return fmt.Errorf("claiming rows of the outbox: %w", err)
		}
		if err := o.publish(ctx, rows); err != nil {
			return err
		}
		if err := o.mark(ctx); err != nil {
			return err
		}
		o.log.InfoContext(ctx, "published domain events from the outbox", "rows", len(rows))
		if len(rows) < maxOutboxRows {
			return nil
		}
	}
}
