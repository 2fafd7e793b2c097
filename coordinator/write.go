package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/deadletter"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// outboxLease is how long a row of the outbox belongs to who wrote it; after that anybody publishes it.
const outboxLease = 10 * time.Second

// outboxRow is the row that a turn wrote, to be published from memory.
type outboxRow struct {
	id int64
	at time.Time
}

// store writes what a turn decided: one round trip, which is one transaction. How many statements it takes depends on
// which kinds of things happened, never on how many.
func (e *engine) store(ctx context.Context, t *turn) error {
	var batch pgx.Batch
	asked := e.queueClock(&batch)
	if err := t.queueUpdates(&batch); err != nil {
		return err
	}
	t.queueChecks(&batch)
	t.queueHistory(&batch)
	t.queueAttention(&batch)
	t.queueMark(&batch)
	t.queueKeys(&batch)
	if err := t.queueOutbox(&batch); err != nil {
		return err
	}
	if err := deadletter.Queue(&batch, t.parked); err != nil {
		return err
	}
	if batch.Len() == asked {
		return nil // nothing happened
	}
	return e.send(ctx, &batch, fmt.Sprintf("writing %d sagas", len(t.sagas)))
}

// send runs the statements in one transaction: the server commits them together when it has read them all, and takes
// everything back if one of them fails or the connection breaks before.
func (e *engine) send(ctx context.Context, batch *pgx.Batch, what string) error {
	if err := e.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// queueClock has the database's clock read on the way; it comes first, before anything waits for a lock. It returns the
// number of statements.
func (e *engine) queueClock(batch *pgx.Batch) int {
	asked := time.Now()
	batch.Queue(nowSQL).QueryRow(func(row pgx.Row) error {
		var now time.Time
		if err := row.Scan(&now); err != nil {
			return err
		}
		e.clock.Set(now, asked)
		return nil
	})
	return batch.Len()
}

// each calls do for the sagas of the turn that changed, in the order of their ids.
func (t *turn) each(do func(*subject) error) error {
	for _, s := range t.sagas {
		if s != nil && s.changed {
			if err := do(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordSize is about how many bytes the record of a saga has.
const recordSize = 400

// texts are records one after the other.
type texts []byte

// record adds one and returns it.
func (t *texts) record(s *saga.Saga) ([]byte, error) {
	at := len(*t)
	all, err := saga.MarshalRecord(*t, s)
	if err != nil {
		return nil, fmt.Errorf("encoding saga %s: %w", s.ID, err)
	}
	*t = all
	return all[at:len(all):len(all)], nil
}

// instants are what the times of an array parameter, of which some may be none, point to.
type instants []time.Time

func (i *instants) orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	*i = append(*i, t)
	return &(*i)[len(*i)-1]
}

func (t *turn) queueUpdates(batch *pgx.Batch) error {
	n := len(t.sagas)
	var (
		ids                         = make([]uuid.UUID, 0, n)
		states, statuses, attention = make([]int16, 0, n), make([]int16, 0, n), make([]int16, 0, n)
		paused                      = make([]bool, 0, n)
		revisions, read             = make([]int64, 0, n), make([]int64, 0, n)
		due, ended                  = make([]*time.Time, 0, n), make([]*time.Time, 0, n)
		records                     = make([][]byte, 0, n)
		times                       = make(instants, 0, 2*n)
		text                        = make(texts, 0, n*recordSize)
	)
	err := t.each(func(s *subject) error {
		record, err := text.record(&s.Saga)
		if err != nil {
			return err
		}
		s.status = saga.StatusOf(s.d, &s.Saga)
		ids = append(ids, s.ID)
		states = append(states, int16(s.State))
		statuses = append(statuses, int16(s.status))
		attention = append(attention, int16(s.Attention.Kind))
		paused = append(paused, s.Paused)
		revisions, read = append(revisions, s.Revision), append(read, s.before.Revision)
		due = append(due, times.orNull(s.NextDue()))
		records = append(records, record)
		ended = append(ended, times.orNull(s.EndedAt))
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	batch.Queue(updateSQL, ids, states, statuses, attention, paused, revisions, due, records, ended, read, len(ids))
	return nil
}

// queueChecks sees to what was decided about sagas that did not change. That nothing happens, or what is kept as
// evidence, was decided on a state too, and it must still be the present one.
func (t *turn) queueChecks(batch *pgx.Batch) {
	var (
		ids  []uuid.UUID
		read []int64
	)
	for i, s := range t.sagas {
		if s != nil && !s.changed && (s.remembered || len(s.history) > 0) {
			ids, read = append(ids, t.order[i]), append(read, s.before.Revision)
		}
	}
	if len(ids) > 0 {
		batch.Queue(checkSQL, ids, read, len(ids))
	}
}

func (t *turn) queueHistory(batch *pgx.Batch) {
	var (
		ids       []uuid.UUID
		revisions []int64
		bodies    [][]byte
	)
	for i, id := range t.order {
		s := t.sagas[i]
		if s == nil || len(s.history) == 0 {
			continue
		}
		ids, revisions, bodies = append(ids, id), append(revisions, s.Revision), append(bodies, s.history)
	}
	if len(ids) > 0 {
		batch.Queue(insertHistorySQL, ids, revisions, bodies, t.now)
	}
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
	for i, id := range t.order { // the lowest comes first
		s := t.sagas[i]
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
	body, err := (&orderv1.OutboxBatch{Events: t.facts}).MarshalVT()
	if err != nil {
		return fmt.Errorf("encoding %d domain events: %w", len(t.facts), err)
	}
	t.outbox.at = t.now
	batch.Queue(insertOutboxSQL, t.now, body, outboxLease).QueryRow(func(row pgx.Row) error {
		return row.Scan(&t.outbox.id)
	})
	return nil
}
