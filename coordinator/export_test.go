package coordinator

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/httpserver"
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
	value, err := proto.Marshal(reply)
	if err != nil {
		return 0, err
	}
	said, err := saga.ReadReply(value)
	if err != nil {
		return 0, err
	}
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{
			saga: id, door: doorReply,
			events: func(list []saga.Event, d *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
				ev, err := saga.EventOf(d, &said, "participant:test", "test")
				return append(list, ev), err
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
			events: func(list []saga.Event, _ *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
				if id == culprit {
					panic("on purpose")
				}
				return append(list, saga.Event{Kind: saga.OperatorPause, Actor: "operator"}), nil
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

// Tell applies an operator's wish to each saga in one transaction.
func (s *Service) Tell(ctx context.Context, ids []uuid.UUID, kind saga.EventKind) error {
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{
			saga: id, door: doorAPI,
			events: func(list []saga.Event, _ *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
				return append(list, saga.Event{Kind: kind, Actor: "operator"}), nil
			},
		}
	}
	_, _, err := s.engine.apply(ctx, items)
	return err
}

// Remembered is a saga as the process remembers it, and as it is stored.
func (s *Service) Remembered(ctx context.Context, id uuid.UUID) (remembered, stored saga.Saga, err error) {
	ids := []uuid.UUID{id}
	remembered = s.engine.hand.recall(ids)[0].Saga
	s.engine.hand.forget(ids)
	t, err := s.engine.read(ctx, ids, []item{{saga: id}})
	if err != nil {
		return remembered, stored, err
	}
	return remembered, t.sagas[0].Saga, nil
}

// Hear tells of every saga that a transaction of the write path has changed.
func (s *Service) Hear(changed func(id uuid.UUID)) {
	s.engine.committed = append(s.engine.committed, func(t *turn) {
		for i, one := range t.sagas {
			if one != nil && one.changed {
				changed(t.order[i])
			}
		}
	})
}

// RaiseMark moves the mark of ended sagas.
func (s *Service) RaiseMark(ctx context.Context, until time.Time) error {
	return (&housekeeping{pool: s.pool, log: s.log}).raiseMark(ctx, until)
}

// Filter narrows a list of orders.
type Filter = filter

// List reads a page of orders as the API does, behind an order or from the newest on.
func List(ctx context.Context, pool *pgxpool.Pool, f Filter, behind uuid.UUID, limit int) ([]uuid.UUID, uuid.UUID, error) {
	list, next, err := (&reader{pool: pool}).list(ctx, f, behind, limit)
	ids := make([]uuid.UUID, len(list))
	for i := range list {
		ids[i] = list[i].orderID
	}
	return ids, next, err
}

// MaxWaits is how many requests may wait for an end.
const MaxWaits = maxWaits

// Prune deletes what is kept long enough.
func (s *Service) Prune(ctx context.Context) error { return s.pruner().prune(ctx) }

// Statements lists every statement of the package, so that a test can prepare them all.
func Statements() map[string]string {
	all := map[string]string{
		"read": readSQL, "check": checkSQL, "now": nowSQL, "keys": keysSQL, "update": updateSQL,
		"insert sagas": insertSagasSQL, "insert documents": insertDocumentsSQL, "insert skus": insertSKUsSQL,
		"insert history": insertHistorySQL, "insert outbox": insertOutboxSQL, "raise attention": raiseAttentionSQL,
		"clear attention": clearAttentionSQL, "lower mark": lowerMarkSQL, "claim keys": claimKeysSQL,
		"insert keys": insertKeysSQL, "see definition": seeDefinitionSQL, "mark outbox": markSQL,
		"claim outbox": claimOutboxSQL, "revisions": revisionsSQL, "due": dueSQL, "order": orderSQL, "saga": sagaSQL,
		"history": historySQL, "names": namesSQL, "make partitions": makePartitionsSQL, "lock mark": lockMarkSQL,
		"oldest open": oldestOpenSQL, "raise mark": raiseMarkSQL, "known keys": knownKeysSQL,
		"books": booksSQL, "drop history": dropHistorySQL, "drop outbox": dropOutboxSQL, "prune keys": pruneKeysSQL,
	}
	return all
}

// Alarms is the heap of timers.
type Alarms struct{ *alarms }

// NewAlarms makes an empty one.
func NewAlarms() Alarms { return Alarms{newAlarms()} }

// Set and Add take the revision at which the saga was seen.
func (a Alarms) Set(id uuid.UUID, at time.Time, revision int64) {
	a.set(id, at, reason{revision: revision})
}

func (a Alarms) Add(id uuid.UUID, at time.Time, revision int64) {
	a.add(id, at, reason{revision: revision})
}

func (a Alarms) Found(id uuid.UUID, at time.Time, revision int64) { a.found(id, at, revision) }

func (a Alarms) Take(now time.Time, n int) []uuid.UUID {
	return a.take(now, n, func(*reason) time.Duration { return 0 })
}

// TakeNone puts off everything that is due and returns how much that was.
func (a Alarms) TakeNone(now time.Time, n int, wait time.Duration) (put int) {
	a.take(now, n, func(*reason) time.Duration { put++; return wait })
	return put
}

func (a Alarms) Next() time.Time { return a.next() }
func (a Alarms) Len() int        { return a.len() }

// Reason is why an alarm goes off.
type Reason struct {
	Participant      string
	Holdable, Resend bool
	Other            time.Time
}

// ReasonOf gives that of a saga.
func ReasonOf(d *saga.Definition, s *saga.Saga) Reason {
	r := whyOf(d, s, 0)
	return Reason{Participant: r.participant, Holdable: r.holdable, Resend: r.resend, Other: r.other}
}

// Drain is the estimate behind admission control.
type Drain struct {
	queues []*queue
	terms  terms
}

// Verdict is what it says about new orders.
type Verdict struct {
	Wait, RetryAfter time.Duration
	Admit            int
	At               string
	Full             bool
}

// NewDrain makes one for queues and how often an order visits each.
func NewDrain(within time.Duration, backlog int64, visits map[string]int) *Drain {
	d := &Drain{terms: terms{within: within, backlog: backlog}}
	for name, n := range visits {
		d.queues = append(d.queues, &queue{name: name, visits: n})
	}
	return d
}

// Look takes what waits in each queue and what was read of it ever, and judges.
func (d *Drain) Look(now time.Time, next time.Duration, seen map[string][2]int64) Verdict {
	for _, q := range d.queues {
		q.observe(now, seen[q.name][0], seen[q.name][1])
	}
	v := judgeOrders(d.queues, d.terms, next)
	return Verdict{Wait: v.wait, RetryAfter: v.retryAfter, Admit: v.admit, At: v.at, Full: v.full}
}

// State is that of one queue.
func (d *Drain) State(name string) string {
	for _, q := range d.queues {
		if q.name == name {
			return q.state.String()
		}
	}
	return ""
}

// Budget is that of resends.
type Budget struct{ *budget }

// NewBudget makes a full one.
func NewBudget(now time.Time) Budget { return Budget{newBudget(now)} }

func (b Budget) Take(now time.Time) bool { return b.take(now) }
func (b Budget) Left(now time.Time) int  { return b.left(now) }

// Earn takes in what the change of a step is worth.
func (b Budget) Earn(before, after saga.StepStatus) { b.pay(earns(&before, &after)) }

// Earns says what that is.
func Earns(before, after saga.StepStatus) float64 { return earns(&before, &after) }

// AdmitNothing lets no new order in, as if every queue were full.
func (s *Service) AdmitNothing() {
	s.admission.terms.backlog = 0
	s.admission.tokens.Store(0)
}

// CountQuestions tells how often the database is asked for keys.
func (s *Service) CountQuestions() func() int64 {
	var n atomic.Int64
	s.admission.known = coalesce.New(func(ctx context.Context, keys []string) ([]bool, error) {
		n.Add(1)
		return s.admission.findKeys(ctx, keys)
	}, coalesce.Options{Linger: askTogether, Pause: askTogether})
	return n.Load
}

// Handler is the API without a listener.
func (s *Service) Handler() http.Handler { return s.server.Handler() }

// RefusingHandler is a server that refuses every order and asks no database about its key.
func RefusingHandler(Config) http.Handler {
	registry := prometheus.NewRegistry()
	a := &admission{metrics: newMetrics(registry)}
	a.last.Store(&verdict{retryAfter: time.Second})
	a.known = coalesce.New(func(_ context.Context, keys []string) ([]bool, error) {
		return make([]bool, len(keys)), nil
	}, coalesce.Options{})
	server, err := httpserver.New(httpserver.Options{
		Registry: registry, Log: slog.New(slog.DiscardHandler), Before: []echo.MiddlewareFunc{a.middleware},
	})
	if err != nil {
		panic(err)
	}
	server.Echo().POST("/v1/orders", func(echo.Context) error { return nil })
	return server.Handler()
}

// ReadClock lets the coordinator take its reading of the database's clock for one that was so far ahead.
func (s *Service) ReadClock(ahead time.Duration) {
	s.engine.clock.Set(time.Now().Add(ahead), time.Now())
}
