package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/clock"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pg"
)

// replies is the door through which participants speak. A poll of records is one transaction, or two beside each other if
// it is a large one; their commands are sent before the offsets are committed.
type replies struct {
	engine     *engine
	dispatcher *dispatcher
	// maxBatch is how many records are enough for one transaction; more are dealt out.
	maxBatch int
	// speakers says who may write to a topic, as the actor of the history.
	speakers map[string]string
	log      *slog.Logger
}

// speakerPrefix stands before the name of a participant who is an actor.
const speakerPrefix = "participant:"

// lanes is how many transactions of one poll run beside each other: while one waits for its commit and for the broker,
// the other decides. Measured at the most that two cores can do: 1.2 times the orders for 0.9 of the processor's time.
const lanes = 2

// handle applies a poll. An error means that the database is away: the same records come again. What one lane has applied
// of them is repeated then, as after a crash: it decides nothing anew, and what is only evidence is written down once more.
func (r *replies) handle(ctx context.Context, records []*kgo.Record) error {
	if len(records) <= r.maxBatch {
		return r.apply(ctx, records)
	}
	var g errgroup.Group
	for _, lane := range inLanes(records) {
		g.Go(func() error { return r.apply(ctx, lane) })
	}
	return g.Wait()
}

// inLanes deals records out by the order that they are about, which is their key: what is said about one stays in its
// sequence.
func inLanes(records []*kgo.Record) [lanes][]*kgo.Record {
	var dealt [lanes][]*kgo.Record
	for _, record := range records {
		lane := 0
		if n := len(record.Key); n > 0 {
			lane = int(record.Key[n-1]) % lanes // the end of an order's id is left to chance
		}
		dealt[lane] = append(dealt[lane], record)
	}
	return dealt
}

// apply is one transaction and what follows from it.
func (r *replies) apply(ctx context.Context, records []*kgo.Record) error {
	if err := crash.Fail(crash.CoordinatorAfterPoll); err != nil {
		return err
	}
	var (
		items   = make([]item, 0, len(records))
		refused []deadletter.Letter
	)
	said := make([]saga.Reply, len(records))
	for i, record := range records {
		it, err := r.item(record, &said[i])
		if err != nil {
			r.log.WarnContext(ctx, "parking a record", "topic", record.Topic, "partition", record.Partition,
				"offset", record.Offset, "error", err)
			refused = append(refused, deadletter.New(record, reasonOf(err), err, clock.Now()))
			continue
		}
		items = append(items, it)
	}
	if len(refused) > 0 {
		err := pg.InTx(ctx, r.engine.pool, func(tx pgx.Tx) error { return deadletter.Park(ctx, tx, refused) })
		if err != nil {
			return err
		}
		r.engine.metrics.parked.Add(float64(len(refused)))
		if err := crash.Fail(crash.CoordinatorAfterPark); err != nil {
			return err
		}
	}
	results, t, err := r.engine.apply(ctx, items)
	if err != nil {
		return err
	}
	for i := range results {
		if err := results[i].err; err != nil {
			r.log.WarnContext(ctx, "a reply was not applied", "saga_id", items[i].saga, "topic", items[i].record.Topic,
				"partition", items[i].record.Partition, "offset", items[i].record.Offset, "error", err)
		}
	}
	r.dispatcher.send(ctx, t.commands)
	return crash.Fail(crash.CoordinatorBeforeOffsets)
}

// item reads a record into reply. The error says why it cannot be one.
func (r *replies) item(record *kgo.Record, reply *saga.Reply) (item, error) {
	speaker, ok := r.speakers[record.Topic]
	if !ok {
		return item{}, reject(deadletter.WrongTopic, "nobody replies on topic %s", record.Topic)
	}
	envelope, err := message.Open(record)
	if err != nil {
		return item{}, err
	}
	if envelope.Type != saga.ReplyType {
		if _, _, err := message.Decode(record); err != nil {
			return item{}, err
		}
		return item{}, reject(deadletter.WrongTopic, "a %s has no business on a topic of replies", envelope.Type)
	}
	if *reply, err = saga.ReadReply(record.Value); err != nil {
		return item{}, &rejection{reason: deadletter.Undecodable, err: err}
	}
	id, err := uuid.ParseBytes(reply.SagaID)
	if err != nil {
		return item{}, reject(deadletter.Undecodable, "saga_id %q is no UUID", reply.SagaID)
	}
	participant, evidence := strings.TrimPrefix(speaker, speakerPrefix), envelope.ID
	return item{
		saga: id, door: doorReply, record: record, span: spanOf(record),
		events: func(list []saga.Event, d *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
			ev, err := saga.EventOf(d, reply, speaker, evidence)
			if err != nil {
				return list, &rejection{reason: deadletter.HandlerRefused, err: err}
			}
			if asked := d.Steps()[ev.Step].Participant; asked != participant {
				return list, reject(deadletter.WrongTopic, "step %s is %s's, and %s answered on %s",
					reply.Step, asked, participant, record.Topic)
			}
			return append(list, ev), nil
		},
	}, nil
}

// spanOf is the span that the client's hook gave the record when it was fetched.
func spanOf(record *kgo.Record) trace.SpanContext {
	if record.Context == nil {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(record.Context)
}

func reasonOf(err error) deadletter.Reason {
	if rejected, ok := errors.AsType[*rejection](err); ok {
		return rejected.reason
	}
	if unreadable, ok := errors.AsType[*message.Error](err); ok {
		return deadletter.Reason(unreadable.Reason)
	}
	return deadletter.HandlerRefused
}
