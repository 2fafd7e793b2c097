package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/deadletter"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// outboxLease is how long a row of the outbox belongs to who wrote it; after that anybody publishes it.
const outboxLease = 10 * time.Second

// outboxRow is the row that a turn wrote, to be published from memory.
type outboxRow struct {
	id int64
	at time.Time
}

// store writes what a turn decided, in one round trip, and one more if records are parked. How many statements it takes
// depends on which kinds of things happened, never on how many.
func (e *engine) store(ctx context.Context, tx pgx.Tx, t *turn) error {
	var batch pgx.Batch
	if err := t.queueUpdates(&batch); err != nil {
		return err
	}
	if err := t.queueHistory(&batch); err != nil {
		return err
	}
	t.queueAttention(&batch)
	t.queueMark(&batch)
	t.queueKeys(&batch)
	if err := t.queueOutbox(&batch); err != nil {
		return err
	}
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("writing %d sagas: %w", len(t.sagas), err)
		}
	}
	return deadletter.Park(ctx, tx, t.parked)
}

// each calls do for the sagas of the turn that changed, in the order of their ids.
func (t *turn) each(do func(*subject) error) error {
	for _, id := range t.order {
		if s := t.sagas[id]; s != nil && s.changed {
			if err := do(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *turn) queueUpdates(batch *pgx.Batch) error {
	var (
		ids                         []uuid.UUID
		states, statuses, attention []int16
		paused                      []bool
		revisions                   []int64
		due, ended                  []*time.Time
		records                     [][]byte
	)
	err := t.each(func(s *subject) error {
		record, err := saga.MarshalRecord(nil, &s.Saga)
		if err != nil {
			return fmt.Errorf("encoding saga %s: %w", s.ID, err)
		}
		s.status = saga.StatusOf(s.d, &s.Saga)
		ids = append(ids, s.ID)
		states = append(states, int16(s.State))
		statuses = append(statuses, int16(s.status))
		attention = append(attention, int16(s.Attention.Kind))
		paused = append(paused, s.Paused)
		revisions = append(revisions, s.Revision)
		due = append(due, timeOrNull(s.NextDue()))
		records = append(records, record)
		ended = append(ended, timeOrNull(s.EndedAt))
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	batch.Queue(updateSQL, ids, states, statuses, attention, paused, revisions, due, records, ended)
	return nil
}

func (t *turn) queueHistory(batch *pgx.Batch) error {
	var (
		ids       []uuid.UUID
		revisions []int64
		bodies    [][]byte
	)
	for _, id := range t.order {
		s := t.sagas[id]
		if s == nil || len(s.history) == 0 {
			continue
		}
		body, err := proto.Marshal(&sagav1.HistoryRecord{Events: s.history})
		if err != nil {
			return fmt.Errorf("encoding the history of saga %s: %w", id, err)
		}
		ids, revisions, bodies = append(ids, id), append(revisions, s.Revision), append(bodies, body)
	}
	if len(ids) > 0 {
		batch.Queue(insertHistorySQL, ids, revisions, bodies, t.now)
	}
	return nil
}

// queueAttention keeps the list of sagas that an operator should look at.
func (t *turn) queueAttention(batch *pgx.Batch) {
	var (
		raised, cleared []uuid.UUID
		kinds           []int16
		since           []time.Time
	)
	_ = t.each(func(s *subject) error {
		switch s.Attention.Kind {
		case s.before.Attention.Kind:
		case saga.AttentionNone:
			cleared = append(cleared, s.ID)
		default:
			raised, kinds, since = append(raised, s.ID), append(kinds, int16(s.Attention.Kind)), append(since, s.Attention.Since)
		}
		return nil
	})
	if len(raised) > 0 {
		batch.Queue(raiseAttentionSQL, raised, kinds, since)
	}
	if len(cleared) > 0 {
		batch.Queue(clearAttentionSQL, cleared)
	}
}

// queueMark lowers the mark below which no saga is open, for one that is opened again.
func (t *turn) queueMark(batch *pgx.Batch) {
	for _, id := range t.order { // the lowest comes first
		s := t.sagas[id]
		if s != nil && s.changed && s.before.State.Ended() && !s.State.Ended() {
			batch.Queue(lowerMarkSQL, id)
			return
		}
	}
}

func (t *turn) queueKeys(batch *pgx.Batch) {
	if len(t.made) == 0 {
		return
	}
	var (
		scopes, keys []string
		hashes       [][]byte
		orders       []uuid.UUID
		answers      []int16
	)
	for _, k := range t.made {
		scopes, keys, hashes = append(scopes, k.scope), append(keys, k.key), append(hashes, k.hash)
		orders, answers = append(orders, k.order), append(answers, int16(k.answer))
	}
	batch.Queue(insertKeysSQL, scopes, keys, hashes, orders, answers, t.now)
}

func (t *turn) queueOutbox(batch *pgx.Batch) error {
	if len(t.facts) == 0 {
		return nil
	}
	body, err := proto.Marshal(&orderv1.OutboxBatch{Events: t.facts})
	if err != nil {
		return fmt.Errorf("encoding %d domain events: %w", len(t.facts), err)
	}
	t.outbox.at = t.now
	batch.Queue(insertOutboxSQL, t.now, body, outboxLease).QueryRow(func(row pgx.Row) error {
		return row.Scan(&t.outbox.id)
	})
	return nil
}
