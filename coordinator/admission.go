package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/kafka"
)

// admission refuses new orders that could not be worked on soon, before their body is read. After every look at the
// queues (drain.go) it gives out as many tokens as there is room for; an order takes one, and a request that turns out
// to be none gives it back. A request whose key is known is let in without one: it is a repeat, and gets its answer.
//
// Cancellations, operators' verbs and questions do not pass here.
type admission struct {
	terms   terms
	pool    *pgxpool.Pool
	metrics *metrics
	// share is the part of all tokens that this coordinator may give out.
	share func() float64
	// pending is how many orders are on their way from here to the queues.
	pending func() int
	// known tells which keys have an order.
	known *coalesce.Group[string, bool]

	tokens atomic.Int64
	last   atomic.Pointer[verdict]

	mu     sync.Mutex // of the queues: one loop looks, and the metrics read
	queues []*queue
}

const (
	// askTogether is how long a refusal waits for others, so that their keys are looked for by one statement, and their
	// answers leave together. Nobody is in a hurry to be refused, and what refusing costs is missing for the work.
	askTogether = 50 * time.Millisecond
	// maxAsking bounds the refusals that wait for that.
	maxAsking = 1024
	// coordinatorQueue is the name of the queue of replies.
	coordinatorQueue = Group
)

func newAdmission(t terms, d *saga.Definition, participants []string, pool *pgxpool.Pool, m *metrics) *admission {
	a := &admission{terms: t, pool: pool, metrics: m}
	a.known = coalesce.New(a.findKeys, coalesce.Options{
		MaxBatch: 256, Linger: askTogether, Pause: askTogether, MaxWaiting: maxAsking,
	})
	visits := make(map[string]int)
	for _, step := range d.Steps() {
		// An order does not wait for what it can do without.
		if !step.Optional {
			visits[step.Participant]++
			visits[coordinatorQueue]++
		}
	}
	for _, name := range append([]string{coordinatorQueue}, participants...) {
		a.queues = append(a.queues, &queue{name: name, visits: visits[name]})
	}
	a.last.Store(&verdict{admit: math.MaxInt})
	// Until the first look nothing is known, and nothing is refused.
	a.tokens.Store(int64(unknownRate * t.within.Seconds()))
	return a
}

// look gives out tokens anew. What could not be learnt about is left as it was.
func (a *admission) look(now time.Time, backlogs map[string]kafka.Backlog, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.queues {
		if b, ok := backlogs[q.name]; ok {
			q.observe(now, b.Waiting(), b.Read)
		}
	}
	v := judgeOrders(a.queues, a.terms, next)
	mine := int64(math.Ceil(float64(v.admit)*a.share())) - int64(a.pending())
	a.tokens.Store(max(0, mine))
	a.last.Store(&v)
	a.metrics.admissionWait.Set(v.wait.Seconds())
	for _, q := range a.queues {
		for _, p := range []progress{moving, stalled, catchingUp} {
			is := 0.0
			if q.state == p {
				is = 1
			}
			a.metrics.queueState.WithLabelValues(q.name, p.String()).Set(is)
		}
	}
}

// take takes a token if there is one.
func (a *admission) take() bool {
	for {
		n := a.tokens.Load()
		if n <= 0 {
			return false
		}
		if a.tokens.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// middleware stands before everything that costs.
func (a *admission) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method != http.MethodPost || c.Path() != "/v1/orders" {
			return next(c)
		}
		if a.take() {
			t := &ticket{admission: a}
			c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), ticketKey{}, t)))
			err := next(c)
			if err != nil || c.Response().Status >= http.StatusMultipleChoices {
				t.giveBack()
			}
			return err
		}
		key := unquoted(c.Request().Header.Get("Idempotency-Key"))
		if key == "" {
			return next(c) // it is refused for that
		}
		known, err := a.known.Do(c.Request().Context(), key)
		switch {
		case errors.Is(err, coalesce.ErrFull):
			return a.refusal()
		case err != nil:
			return err
		case known:
			return next(c)
		}
		return a.refusal()
	}
}

// ticket is the token that one request has taken.
type ticket struct {
	admission *admission
	once      sync.Once
}

// giveBack is for a request that adds no work: it failed, or repeats another one. On none it does nothing.
func (t *ticket) giveBack() {
	if t != nil {
		t.once.Do(func() { t.admission.tokens.Add(1) })
	}
}

type ticketKey struct{}

// ticketOf is that of a request, or nil if it was let in without one.
func ticketOf(ctx context.Context) *ticket {
	t, _ := ctx.Value(ticketKey{}).(*ticket)
	return t
}

// refusal says when to come back. Some chance is in it, so that those who were refused together do not come together.
func (a *admission) refusal() error {
	a.metrics.orders.WithLabelValues("refused").Inc()
	v := a.last.Load()
	after := v.retryAfter + rand.N(v.retryAfter/2+time.Second)
	detail := "A new order would wait for more than " + a.terms.within.String() + ". Please repeat the request."
	if v.full {
		detail = "Too many orders wait for " + v.at + " already. Please repeat the request."
	}
	return httpserver.NewProblem(httpserver.CodeOverloaded, detail, httpserver.WithRetryAfter(after))
}

// The scope comes with each key, so that whatever a planner knows or does not know of the table, it has to look up one
// row by both. With the scope as a condition of its own it reads all orders there are, for every 50 ms of refusals.
const knownKeysSQL = `
SELECT k.key
FROM unnest($1::text[], $2::text[]) AS wanted (scope, key)
JOIN request_key AS k ON k.scope = wanted.scope AND k.key = wanted.key`

// findKeys says which of the keys have an order.
func (a *admission) findKeys(ctx context.Context, keys []string) ([]bool, error) {
	scopes := make([]string, len(keys))
	for i := range scopes {
		scopes[i] = scopeOrders
	}
	rows, err := a.pool.Query(ctx, knownKeysSQL, scopes, keys)
	if err != nil {
		return nil, fmt.Errorf("looking for %d idempotency keys: %w", len(keys), err)
	}
	found := make(map[string]bool)
	var key string
	if _, err := pgx.ForEachRow(rows, []any{&key}, func() error {
		found[key] = true
		return nil
	}); err != nil {
		return nil, fmt.Errorf("looking for %d idempotency keys: %w", len(keys), err)
	}
	known := make([]bool, len(keys))
	for i, key := range keys {
		known[i] = found[key]
	}
	return known, nil
}
