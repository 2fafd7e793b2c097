package coordinator

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
)

// intake is the door through which people come: new orders, cancellations and operators' verbs. Requests that arrive
// together go through one transaction, and are answered after its commit: those who come while one is on its way are the
// next one, so that a lone request waits for nobody.
type intake struct {
	engine     *engine
	dispatcher *dispatcher
	orders     *coalesce.Group[submission, acceptance]
	verbs      *coalesce.Group[item, result]
}

const (
	// gatherMax is the largest number of requests of one transaction.
	gatherMax = 256
	// gatherBeside waiting orders are enough for a transaction of their own, beside the one whose commit is awaited.
	gatherBeside = 64
	// intakeTimeout is how long a transaction of requests may take.
	intakeTimeout = 10 * time.Second
)

func newIntake(e *engine, d *dispatcher, maxWaiting int) *intake {
	in := &intake{engine: e, dispatcher: d}
	// Each door has its own bound: a wave of new orders must not keep anybody from cancelling one.
	o := coalesce.Options{MaxBatch: gatherMax, Timeout: intakeTimeout, MaxWaiting: maxWaiting}
	in.verbs = coalesce.New(in.apply, o)
	// Orders do not depend on each other, and two transactions with the same key are settled by the key's row.
	o.Beside = gatherBeside
	in.orders = coalesce.New(in.accept, o)
	return in
}

func (in *intake) accept(ctx context.Context, list []submission) ([]acceptance, error) {
	answers, t, err := in.engine.accept(ctx, list)
	switch {
	case err == nil:
		in.dispatcher.sendSoon(t.commands)
	case len(list) == 1 || ctx.Err() != nil || pg.IsTransient(err):
		return nil, err
	default:
		// One of them cannot be stored; it must not take the others along.
		answers = make([]acceptance, len(list))
		for i := range list {
			one, t, err := in.engine.accept(ctx, list[i:i+1])
			if err != nil {
				answers[i].err = err
				continue
			}
			answers[i] = one[0]
			in.dispatcher.sendSoon(t.commands)
		}
	}
	return answers, crash.Fail(crash.CoordinatorBeforeAnswer)
}

func (in *intake) apply(ctx context.Context, list []item) ([]result, error) {
	results, t, err := in.engine.apply(ctx, list)
	if err != nil {
		return nil, err
	}
	in.dispatcher.sendSoon(t.commands)
	return results, crash.Fail(crash.CoordinatorBeforeVerbAnswer)
}

// submit stores an order and returns after the commit.
func (in *intake) submit(ctx context.Context, s submission) (acceptance, error) {
	a, err := in.orders.Do(ctx, s)
	if err != nil {
		return acceptance{}, err
	}
	return a, a.err
}

// wish brings what a person wants to a saga.
func (in *intake) wish(ctx context.Context, id uuid.UUID, ev saga.Event, key *requestKey) (result, error) {
	r, err := in.verbs.Do(ctx, item{
		saga: id, door: doorAPI, key: key, span: trace.SpanContextFromContext(ctx),
		events: func(list []saga.Event, _ *saga.Definition, _ *saga.Saga, _ time.Time) ([]saga.Event, error) {
			return append(list, ev), nil
		},
	})
	if err != nil {
		return result{}, err
	}
	return r, r.err
}

// waiting counts the requests that are in and not answered.
func (in *intake) waiting() int { return in.orders.Waiting() + in.verbs.Waiting() }

func (in *intake) close() {
	in.orders.Close()
	in.verbs.Close()
}
