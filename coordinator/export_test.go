package coordinator

import (
	"context"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// What the tests of the write path need of it, without its doors.

// Accept stores orders in one transaction, without sending anything.
func (s *Service) Accept(ctx context.Context, keys []string, orders []*coordinatorapi.NewOrder) ([]uuid.UUID, error) {
	list := make([]submission, len(orders))
	for i, o := range orders {
		key, err := idempotencyKey(scopeOrders, keys[i], o)
		if err != nil {
			return nil, err
		}
		id := uuid.Must(uuid.NewV7())
		list[i] = submission{key: *key, id: id, order: documentOf(id, o)}
		if err := order.Validate(list[i].order); err != nil {
			return nil, err
		}
	}
	answers, _, err := s.engine.accept(ctx, list)
	ids := make([]uuid.UUID, len(answers))
	for i := range answers {
		ids[i] = answers[i].id
	}
	return ids, err
}

// Reply applies one reply for each saga in one transaction.
func (s *Service) Reply(ctx context.Context, ids []uuid.UUID, reply *sagav1.Reply) (commands int, err error) {
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{
			saga: id, door: doorReply,
			events: func(d *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
				ev, err := saga.EventOf(d, reply, "participant:test", "test")
				return []saga.Event{ev}, err
			},
		}
	}
	_, t, err := s.engine.apply(ctx, items)
	if err != nil {
		return 0, err
	}
	return len(t.commands), nil
}

// Panic applies events of which those of one saga panic; it returns the errors by saga.
func (s *Service) Panic(ctx context.Context, ids []uuid.UUID, culprit uuid.UUID) ([]error, error) {
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{
			saga: id, door: doorAPI,
			events: func(*saga.Definition, *saga.Saga, time.Time) ([]saga.Event, error) {
				if id == culprit {
					panic("on purpose")
				}
				return []saga.Event{{Kind: saga.OperatorPause, Actor: "operator"}}, nil
			},
		}
	}
	results, _, err := s.engine.apply(ctx, items)
	errs := make([]error, len(results))
	for i := range results {
		errs[i] = results[i].err
	}
	return errs, err
}

// Hear tells of every saga that a transaction of the write path has changed.
func (s *Service) Hear(changed func(id uuid.UUID)) {
	s.engine.committed = append(s.engine.committed, func(t *turn) {
		for id, one := range t.sagas {
			if one != nil && one.changed {
				changed(id)
			}
		}
	})
}

// RaiseMark moves the mark of ended sagas.
func (s *Service) RaiseMark(ctx context.Context, until time.Time) error {
	return (&housekeeping{pool: s.pool, log: s.log}).raiseMark(ctx, until)
}

// Statements lists every statement of the package, so that a test can prepare them all.
func Statements() map[string]string {
	all := map[string]string{
		"lock": lockSQL, "now": nowSQL, "documents": documentsSQL, "keys": keysSQL, "update": updateSQL,
		"insert sagas": insertSagasSQL, "insert documents": insertDocumentsSQL, "insert skus": insertSKUsSQL,
		"insert history": insertHistorySQL, "insert outbox": insertOutboxSQL, "raise attention": raiseAttentionSQL,
		"clear attention": clearAttentionSQL, "lower mark": lowerMarkSQL, "claim keys": claimKeysSQL,
		"insert keys": insertKeysSQL, "see definitions": seeDefinitionsSQL, "mark outbox": markSQL,
		"claim outbox": claimOutboxSQL, "revisions": revisionsSQL, "due": dueSQL, "order": orderSQL, "saga": sagaSQL,
		"history": historySQL, "make partitions": makePartitionsSQL, "lock mark": lockMarkSQL,
		"oldest open": oldestOpenSQL, "raise mark": raiseMarkSQL,
	}
	return all
}

// Alarms is the heap of timers.
type Alarms struct{ *alarms }

// NewAlarms makes an empty one.
func NewAlarms() Alarms { return Alarms{newAlarms()} }

func (a Alarms) Set(id uuid.UUID, at time.Time)        { a.set(id, at) }
func (a Alarms) Add(id uuid.UUID, at time.Time)        { a.add(id, at) }
func (a Alarms) Take(now time.Time, n int) []uuid.UUID { return a.take(now, n) }
func (a Alarms) Next() time.Time                       { return a.next() }
func (a Alarms) Len() int                              { return a.len() }
