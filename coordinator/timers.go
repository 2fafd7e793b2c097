package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pace"
	"recourse.dev/pkg/pg"
)

// timers is the door through which time comes in. It keeps the alarms of the sagas that this coordinator wrote last and
// of those whose partition it owns, fires them in batches, and reads the table again from time to time.
//
// An alarm is only a hint to look: what is due is decided on the saga as it is, on the database's clock. Two coordinators
// that watch the same saga do no harm; the second finds nothing due.
type timers struct {
	engine     *engine
	dispatcher *dispatcher
	pool       *pgxpool.Pool
	lags       *lags
	alarms     *alarms
	log        *slog.Logger

	maxBatch int
	every    time.Duration
	holdBack time.Duration
	rate     *bucket
	budget   *budget

	// clock is the database's. By the wall clock a step of it would let every timer sleep, or fire them all.
	clock *pg.Clock

	mu      sync.Mutex
	owned   map[int32]bool
	rescan  chan struct{}
	scanned atomic.Pointer[time.Time] // when the last scan went well
}

// hear keeps the alarms of what this coordinator writes.
func (t *timers) hear(turn *turn) {
	for i, s := range turn.sagas {
		if s != nil && s.history != nil {
			t.alarms.set(turn.order[i], s.NextDue(), whyOf(s.d, &s.Saga, s.partition))
		}
	}
}

// assigned and revoked follow the partitions that this coordinator's consumer owns.
func (t *timers) assigned(partitions map[string][]int32) {
	t.mu.Lock()
	t.owned = make(map[int32]bool)
	for _, list := range partitions {
		for _, p := range list {
			t.owned[p] = true
		}
	}
	t.mu.Unlock()
	select {
	case t.rescan <- struct{}{}:
	default:
	}
}

func (t *timers) revoked(map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owned = nil
}

// partitions lists what is owned.
func (t *timers) partitions() []int16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []int16
	for p := range t.owned {
		list = append(list, int16(p))
	}
	slices.Sort(list)
	return list
}

func (t *timers) owns(partition int16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owned[int32(partition)]
}

// run fires what is due until ctx ends.
func (t *timers) run(ctx context.Context) error {
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	fails := 0
	for {
		wait := time.NewTimer(t.untilNext())
		var err error
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-t.rescan:
			err = t.scan(ctx)
		case <-ticker.C:
			err = t.scan(ctx)
		case <-t.alarms.wake:
		case <-wait.C:
			err = t.fire(ctx)
		}
		wait.Stop()
		if err == nil {
			fails = 0
			continue
		}
		if ctx.Err() == nil {
			t.log.WarnContext(ctx, "timers failed; trying again", "error", err)
			pace.Wait(ctx, backoff(fails))
			fails++
		}
	}
}

func (t *timers) untilNext() time.Duration {
	next := t.alarms.next()
	if next.IsZero() {
		return time.Hour
	}
	return max(0, next.Sub(t.clock.Now()))
}

// fire takes a batch of alarms whose time has come through the write path.
func (t *timers) fire(ctx context.Context) error {
	ids := t.take(t.clock.Now())
	if len(ids) == 0 {
		return nil
	}
	if !t.rate.take(ctx, len(ids)) {
		return nil
	}
	crash.Point(crash.CoordinatorAfterTake)
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{saga: id, door: doorTimer, events: t.due}
	}
	results, turn, err := t.engine.apply(ctx, items)
	if err != nil {
		soon := t.clock.Now().Add(time.Second)
		for _, id := range ids {
			t.alarms.add(id, soon, reason{})
		}
		return err
	}
	now := t.clock.Now()
	for i := range results {
		t.setAgain(ctx, ids[i], &results[i], now)
	}
	t.dispatcher.send(ctx, turn.commands)
	return nil
}

// take takes the alarms whose time has come, but those that are put off by what is known of their sagas. One of another
// coordinator's partition is forgotten by setAgain.
func (t *timers) take(now time.Time) []uuid.UUID {
	resends := t.budget.left(time.Now())
	return t.alarms.take(now, t.maxBatch, func(why *reason) time.Duration {
		switch {
		case !why.only(now) || !t.owns(why.partition):
			return 0
		case t.heldBack(why, now):
			return why.putOff(now)
		case !why.resend:
			return 0
		case resends == 0:
			t.count("put_off")
			return why.putOff(now)
		}
		resends--
		return 0
	})
}

// setAgain gives a saga its next alarm. One that changed has it already; here are those that were held back, came too
// early, or cannot be worked on.
func (t *timers) setAgain(ctx context.Context, id uuid.UUID, r *result, now time.Time) {
	if r.err != nil {
		t.log.WarnContext(ctx, "a timer was not applied", "saga_id", id, "error", r.err)
		if r.err != errUnknownSaga { //nolint:errorlint // never wrapped
			t.alarms.add(id, now.Add(t.every), reason{})
		}
		return
	}
	due := r.saga.NextDue()
	if due.IsZero() || due.Before(now) && !t.owns(r.partition) {
		return
	}
	why := whyOf(t.engine.catalogue.byHash[r.saga.Definition], r.saga, r.partition)
	if !due.After(now) {
		due = now.Add(why.putOff(now))
	}
	t.alarms.add(id, due, why)
}

// due lists the timers of a saga that have fired, without the resends that are put off: those that are held back, and
// those that find no room in the budget.
func (t *timers) due(list []saga.Event, d *saga.Definition, s *saga.Saga, now time.Time) ([]saga.Event, error) {
	return append(list, slices.DeleteFunc(s.DueEvents(now), func(ev saga.Event) bool {
		if ev.Kind != saga.TimerFired {
			return false
		}
		why := whyOfStep(&d.Steps()[ev.Step], &s.Steps[ev.Step], t.engine.partition.of(s.OrderID.String()))
		if t.heldBack(&why, now) {
			return true
		}
		if !why.resend {
			return false
		}
		if !t.budget.take(time.Now()) {
			t.count("put_off")
			return true
		}
		t.count("sent")
		return false
	})...), nil
}

// heldBack says that a command is not sent again for now, because the participant has unread commands: ours is queued and
// not lost. In case that is a mistake, it is not believed for ever.
func (t *timers) heldBack(why *reason, now time.Time) bool {
	held := why.holdable && now.Sub(why.issued) <= t.holdBack && t.lags.queued(why.participant, int32(why.partition))
	if held {
		t.count("held_back")
	}
	return held
}

func (t *timers) count(outcome string) { t.engine.metrics.resends.WithLabelValues(outcome).Inc() }

const dueSQL = `
SELECT
    s.id,
    s.next_due,
    s.revision
FROM saga AS s
WHERE s.id >= (SELECT id FROM saga_low_water)
    AND s.ended_at IS NULL
    AND s.next_due < clock_timestamp() + $2::interval
    AND s.partition = ANY($1::smallint[])`

// scan reads the alarms of the owned partitions that come before the scan after the next one.
func (t *timers) scan(ctx context.Context) error {
	partitions := t.partitions()
	if len(partitions) == 0 {
		return nil
	}
	if err := t.clock.Read(ctx, t.pool); err != nil {
		return err
	}
	rows, err := t.pool.Query(ctx, dueSQL, partitions, 2*t.every)
	if err != nil {
		return fmt.Errorf("scanning open sagas: %w", err)
	}
	var (
		id       uuid.UUID
		due      time.Time
		revision int64
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &due, &revision}, func() error {
		t.alarms.found(id, due, revision)
		return nil
	})
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterScan)
	}
	if err != nil {
		return fmt.Errorf("scanning open sagas: %w", err)
	}
	now := time.Now()
	t.scanned.Store(&now)
	return nil
}

// bucket lets a bounded number of timers through a second.
type bucket struct {
	rate   float64
	size   float64
	tokens float64
	at     time.Time
}

func newBucket(rate, size int) *bucket {
	return &bucket{rate: float64(rate), size: float64(size), tokens: float64(size), at: time.Now()}
}

// take waits until n may pass; false if ctx ends first. It is used by one goroutine.
func (b *bucket) take(ctx context.Context, n int) bool {
	now := time.Now()
	b.tokens = min(b.size, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return true
	}
	return pace.Wait(ctx, time.Duration(-b.tokens/b.rate*float64(time.Second)))
}
