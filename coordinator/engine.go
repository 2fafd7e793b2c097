package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/pg"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// item is one thing that is to happen to one saga, through whichever door it came.
type item struct {
	saga uuid.UUID
	door door
	// events appends what happens, given the saga as it is. It may be asked again if another writer was faster.
	events func(list []saga.Event, d *saga.Definition, s *saga.Saga, now time.Time) ([]saga.Event, error)
	// record is parked when it cannot be applied; nil where there is none.
	record *kgo.Record
	// key is that of a request which wants the same answer for every repeat.
	key *requestKey
	// span is what the commands that follow are traced back to.
	span trace.SpanContext
}

// door names where an item came from, for metrics.
type door string

const (
	doorReply door = "reply"
	doorTimer door = "timer"
	doorAPI   door = "api"
)

// requestKey is an idempotency key and the request that came with it.
type requestKey struct {
	keyName
	hash []byte
}

// result is what became of an item.
type result struct {
	// err is nil if the item was applied: errUnknownSaga, errUnknownDefinition, errKeyReused or a *rejection.
	err error
	// saga is the state that was committed; nil if there is none.
	saga *saga.Saga
	// partition is the saga's.
	partition int16
	verdict   saga.Verdict
	replayed  bool
}

var (
	errUnknownSaga       = errors.New("no such saga")
	errUnknownDefinition = errors.New("this build does not know the saga's definition and leaves it alone")
	errKeyReused         = errors.New("the idempotency key was used for another request")
)

// rejection says that an item itself is to blame, so that trying it again is of no use.
type rejection struct {
	reason deadletter.Reason
	err    error
}

func (r *rejection) Error() string { return string(r.reason) + ": " + r.err.Error() }
func (r *rejection) Unwrap() error { return r.err }

func reject(reason deadletter.Reason, format string, args ...any) error {
	return &rejection{reason: reason, err: fmt.Errorf(format, args...)}
}

// engine is the one write path. Every event of every saga goes through apply, a new order through accept.
type engine struct {
	pool      *pgxpool.Pool
	catalogue *catalogue
	// commandTopics are by participant.
	commandTopics map[string]string
	partition     partitioner
	hand          *hand
	metrics       *metrics
	log           *slog.Logger
	// clock is the database's; every transaction that writes reads it.
	clock pg.Clock
	// latest is the last instant of a turn, in microseconds.
	latest atomic.Int64
	names  names
	// committed hears of every transaction that wrote something, before its commands are sent.
	committed []func(*turn)
}

// turn is one transaction of the write path: what it read, what it decided and what is to be written.
type turn struct {
	now time.Time
	// at is now, for the messages that say it.
	at *timestamppb.Timestamp
	// order names the sagas in the order in which their rows are locked. sagas has each at the same place, or nil where
	// there is none.
	order  []uuid.UUID
	sagas  []*subject
	keys   map[keyName]keyRow
	made   []madeKey
	parked []deadletter.Letter
	// what goes out after the commit
	commands []*kgo.Record
	facts    []*orderv1.OutboxEvent
	outbox   outboxRow
	// events is used for every item anew.
	events []saga.Event
	// text holds the bodies of commands and facts, one after the other.
	text []byte
}

// newTurn begins a turn about so many sagas.
func newTurn(now time.Time, order []uuid.UUID, keys map[keyName]keyRow) *turn {
	n := len(order)
	return &turn{
		now: now, at: timestamppb.New(now), order: order, sagas: make([]*subject, n), keys: keys,
		commands: make([]*kgo.Record, 0, n), text: make([]byte, 0, n*textOfSaga),
	}
}

// notBefore moves the turn to a time by which another coordinator wrote one of its sagas, so that no history goes back: two
// processes know the database's clock to within what their readings of it were on their way.
func (t *turn) notBefore(last time.Time) {
	if ahead := last.Sub(t.now); ahead > 0 && ahead < maxStepBack {
		t.now, t.at = last, timestamppb.New(last)
	}
}

// textOfSaga is about how many bytes a saga's commands and facts have in a turn.
const textOfSaga = 320

// body has a message appended to the turn's text and returns its name and bytes.
func (t *turn) body(appendTo func(text []byte) (string, []byte, error)) (name string, body []byte, err error) {
	at := len(t.text)
	name, text, err := appendTo(t.text)
	if err != nil {
		return "", nil, err
	}
	t.text = text
	return name, text[at:len(text):len(text)], nil
}

// place finds where a saga of the turn stands; its order is that of the ids.
func (t *turn) place(id uuid.UUID) (int, bool) {
	return slices.BinarySearchFunc(t.order, id, compareIDs)
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// subject is one saga in a turn.
type subject struct {
	stored
	// before is the saga as it was read. It belongs to the hand and is not changed.
	before *saga.Saga
	// remembered says that it was not read in this turn, so it may be out of date.
	remembered bool
	d          *saga.Definition
	changed    bool
	// history is the body of the row that it gets.
	history []byte
}

// name is the saga's id as a text: that of the order, if they are the same.
func (s *subject) name() string {
	if s.ID == s.OrderID && s.document != nil {
		return s.document.GetOrderId()
	}
	return s.ID.String()
}

// unborn is a saga before its first event.
var unborn saga.Saga

// ends says that the saga came to its end in this turn.
func (s *subject) ends() bool { return s.changed && s.State.Ended() && !s.before.State.Ended() }

type madeKey struct {
	requestKey
	order  uuid.UUID
	answer saga.Verdict
}

// apply takes the items through one transaction and returns a result for each. The error is that of the whole batch:
// the database is away, and nothing was written. An item that cannot be applied is its own result, and its record is
// parked in the same transaction.
//
// A failure that is not the database's being away has a culprit. The items are then taken one by one, so that it
// stops nobody else.
func (e *engine) apply(ctx context.Context, items []item) ([]result, *turn, error) {
	if len(items) == 0 {
		return nil, &turn{}, nil
	}
	results, t, err := e.applyOnce(ctx, items, nil)
	if err == nil || ctx.Err() != nil || pg.IsTransient(err) {
		return results, t, err
	}
	e.log.WarnContext(ctx, "a batch failed; taking its items one by one", "items", len(items), "error", err)
	all := &turn{}
	results = nil
	for _, it := range items {
		one, t, err := e.applyOnce(ctx, []item{it}, nil)
		if err != nil && ctx.Err() == nil && !pg.IsTransient(err) {
			e.log.ErrorContext(ctx, "an event cannot be applied", "saga_id", it.saga, "door", it.door, "error", err)
			one, t, err = e.applyOnce(ctx, []item{it}, &rejection{reason: deadletter.HandlerPanic, err: err})
		}
		if err != nil {
			return nil, nil, err
		}
		results = append(results, one...)
		all.commands = append(all.commands, t.commands...)
	}
	return results, all, nil
}

// applyOnce is one transaction. With blame it does not apply the items but parks them.
//
// It holds no lock while it decides: what it writes is guarded by the revisions that it read (see updateSQL), and if
// another coordinator was faster everything is read and decided again.
func (e *engine) applyOnce(ctx context.Context, items []item, blame *rejection) ([]result, *turn, error) {
	started := time.Now()
	ids := sagasOf(items)
	if err := e.hand.take(ctx, ids); err != nil {
		return nil, nil, fmt.Errorf("applying %d events: %w", len(items), err)
	}
	defer e.hand.release(ids)
	results := make([]result, len(items))
	var t *turn
	err := pg.Retry(ctx, func() error {
		var err error
		if t, err = e.read(ctx, ids, items); err != nil {
			return err
		}
		if err := crash.Fail(crash.CoordinatorAfterLoad); err != nil {
			return err
		}
		for i := range items {
			if blame != nil {
				results[i] = result{err: blame}
			} else {
				results[i] = e.applyItem(t, &items[i])
			}
			e.park(t, &items[i], results[i].err)
		}
		if err := crash.Fail(crash.CoordinatorAfterDecide); err != nil {
			return err
		}
		if err := e.store(ctx, t); err != nil {
			e.hand.forget(ids)
			return err
		}
		return nil
	})
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterCommit)
	}
	if err != nil {
		e.hand.forget(ids)
		return nil, nil, fmt.Errorf("applying %d events: %w", len(items), err)
	}
	e.hand.remember(t)
	e.metrics.applied(items, results, time.Since(started))
	e.announce(t)
	crash.Point(crash.CoordinatorAfterAnnounce)
	return results, t, nil
}

// sagasOf lists the sagas that the items are about, each once, in the order in which their rows are locked.
func sagasOf(items []item) []uuid.UUID {
	ids := make([]uuid.UUID, len(items))
	for i := range items {
		ids[i] = items[i].saga
	}
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// announce tells the parts of this process what was committed.
func (e *engine) announce(t *turn) {
	for _, hear := range e.committed {
		hear(t)
	}
}

// read gathers what deciding needs: from this process's hand, and in one round trip what is not there.
func (e *engine) read(ctx context.Context, ids []uuid.UUID, items []item) (*turn, error) {
	t := newTurn(e.now(), ids, make(map[keyName]keyRow))
	subjects := make([]subject, len(ids))
	take := func(i int, s *stored, remembered bool) {
		subjects[i] = subject{stored: *s, before: &s.Saga, remembered: remembered, d: e.catalogue.byHash[s.Definition]}
		t.sagas[i] = &subjects[i]
	}
	var (
		batch      pgx.Batch
		unknown    []uuid.UUID
		names      []keyName
		remembered = e.hand.recall(ids)
	)
	for i, id := range ids {
		if s := remembered[i]; s != nil {
			take(i, s, true)
		} else {
			unknown = append(unknown, id)
		}
	}
	for i := range items {
		if k := items[i].key; k != nil {
			names = append(names, k.keyName)
		}
	}
	if len(unknown) > 0 { // after a restart, when another coordinator took the order in, or after the saga's end
		batch.Queue(readSQL, unknown).Query(func(rows pgx.Rows) error {
			list, err := pgx.CollectRows(rows, scanWithDocument)
			for _, s := range list {
				if i, ok := t.place(s.ID); ok {
					take(i, s, false)
					t.notBefore(s.LastChange())
				}
			}
			return err
		})
	}
	if len(names) > 0 {
		queueKeys(&batch, names, t.keys)
	}
	if batch.Len() > 0 {
		if err := e.pool.SendBatch(ctx, &batch).Close(); err != nil {
			return nil, fmt.Errorf("reading %d sagas: %w", len(ids), err)
		}
	}
	return t, nil
}

// maxStepBack is how far the clock may be set back by a better reading without anybody noticing.
const maxStepBack = time.Second

// now is the one instant of a turn: the database's clock, so that all coordinators agree about what is due, as fine as
// the database keeps it. It does not go back when a reading corrects the one before by the time that was on its way.
func (e *engine) now() time.Time {
	for {
		now, latest := e.clock.Now().UnixMicro(), e.latest.Load()
		if now < latest && latest-now < maxStepBack.Microseconds() {
			now = latest
		}
		if e.latest.CompareAndSwap(latest, now) {
			return time.UnixMicro(now).UTC()
		}
	}
}

// applyItem decides about one item. A panic in it is that item's result and nobody else's.
func (e *engine) applyItem(t *turn, it *item) (r result) {
	at, _ := t.place(it.saga)
	s := t.sagas[at]
	if s == nil {
		return result{err: errUnknownSaga}
	}
	r = result{saga: &s.Saga, partition: s.partition}
	if s.d == nil {
		r.err = errUnknownDefinition
		return r
	}
	if it.key != nil {
		if k, ok := t.keys[it.key.keyName]; ok {
			if string(k.hash) != string(it.key.hash) {
				r.err = errKeyReused
				return r
			}
			r.verdict, r.replayed = k.answer, true
			return r
		}
	}
	// Nothing of the item stays if it cannot be applied, not even its first events if a later one is to blame.
	before, commands, facts := *s, len(t.commands), len(t.facts)
	defer func() {
		if p := recover(); p != nil {
			r.err = reject(deadletter.HandlerPanic, "deciding about saga %s panicked: %v\n%s", it.saga, p, debug.Stack())
		}
		if r.err != nil {
			*s, t.commands, t.facts = before, t.commands[:commands], t.facts[:facts]
		}
	}()
	if t.events, r.err = it.events(t.events[:0], s.d, &s.Saga, t.now); r.err != nil {
		return r
	}
	for _, ev := range t.events {
		if r.err = e.follow(t, s, ev, saga.Decide(s.d, s.Saga, ev, t.now), &r.verdict); r.err != nil {
			return r
		}
	}
	follows(t.commands[commands:], it.span)
	if it.key != nil {
		made := madeKey{requestKey: *it.key, order: s.OrderID, answer: r.verdict}
		t.made = append(t.made, made)
		t.keys[it.key.keyName] = keyRow{hash: it.key.hash, order: s.OrderID, answer: r.verdict}
	}
	return r
}

// follows gives each command a context of its own, with the span that it follows from and without an end: the client
// remembers a record's first context, and a command whose first sending was cut off by a shutdown could not be sent a
// second time under it.
func follows(commands []*kgo.Record, span trace.SpanContext) {
	ctx := context.Background()
	if span.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, span)
	}
	for _, record := range commands {
		record.Context = ctx
	}
}

// park keeps the record of an item that could not be applied.
func (e *engine) park(t *turn, it *item, err error) {
	if err == nil || it.record == nil || errors.Is(err, errUnknownDefinition) {
		return
	}
	reason := deadletter.HandlerRefused
	if errors.Is(err, errUnknownSaga) {
		reason = deadletter.UnknownSaga
	} else if rejected, ok := errors.AsType[*rejection](err); ok {
		reason = rejected.reason
	}
	t.parked = append(t.parked, deadletter.New(it.record, reason, err, t.now))
}
