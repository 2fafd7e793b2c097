package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"recourse.dev/services/standalone/load"
)

// patience is how long nothing may come to its end before a run is given up.
const patience = 90 * time.Second

// errStopped says that the run was told to stop before its end.
var errStopped = errors.New("stopped")

// plan is one phase of a run.
type plan struct {
	// name is part of the orders' references, which are their keys.
	name     string
	sagas    int
	duration time.Duration
	inFlight int
	rate     float64
	// placers bounds the orders that a closed loop places at the same time.
	placers int
	sku     func(n int) string
	// fate says how order n is meant to end.
	fate func(n uint64) fate
	// leave so many orders open: those that cannot end yet.
	leave int
	// placed is called when all are placed, before their ends are waited for; nil does nothing.
	placed func(ctx context.Context) error
	// untilPlaced measures what placing costs, and leaves out what comes after it.
	untilPlaced bool
}

// placing is what became of placing a phase's orders.
type placing struct {
	start, end time.Time
	placed     atomic.Int64
	// fates counts the placed orders by how they are meant to end.
	fates [3]atomic.Int64
	// refused were turned away and placed later by a closed loop, and never by an open one.
	refused atomic.Int64
	failed  atomic.Pointer[error]
	// missed were due and not sent, because the generator was at its bound; late is how far it was behind its plan.
	missed int
	late   time.Duration
	// answers are the times until an order was accepted.
	mu      sync.Mutex
	answers *load.Histogram
}

// generator places orders and waits for their ends.
type generator struct {
	seed  uint64
	place func(ctx context.Context, reference, sku string, f fate) (uuid.UUID, load.Outcome, error)
	ends  *ends
	// failure says that the platform has ended by itself.
	failure func() error
}

// one places order n, which was due at that time. It says whether the order was accepted.
func (g *generator) one(ctx context.Context, p *plan, r *placing, n int, due time.Time) load.Outcome {
	f := p.fate(uint64(n) + g.seed)
	id, outcome, err := g.place(ctx, fmt.Sprintf("%s-%d", p.name, n), p.sku(n), f)
	switch {
	case outcome == load.Accepted:
		g.ends.expect(id, due)
		r.placed.Add(1)
		r.fates[f].Add(1)
		took := time.Since(due)
		r.mu.Lock()
		r.answers.Record(took)
		r.mu.Unlock()
	case outcome == load.Failed && ctx.Err() == nil:
		err = fmt.Errorf("placing order %s-%d: %w", p.name, n, err)
		r.failed.CompareAndSwap(nil, &err)
	default:
		r.refused.Add(1)
	}
	return outcome
}

// run places the orders of a phase and returns when all have ended, or with errStopped when ctx has.
func (g *generator) run(ctx context.Context, p plan) (*placing, error) {
	r := &placing{answers: load.NewHistogram(), start: time.Now()}
	var err error
	if p.rate > 0 {
		g.ends.begin(nil)
		err = g.open(ctx, &p, r)
	} else {
		err = g.closed(ctx, &p, r)
	}
	r.end = time.Now()
	if failed := r.failed.Load(); failed != nil {
		return r, *failed
	}
	if err == nil && p.placed != nil {
		err = p.placed(context.WithoutCancel(ctx))
	}
	if err == nil {
		err = g.wait(ctx, p.leave)
	}
	if ctx.Err() != nil {
		err = errStopped
	}
	return r, err
}

// closed keeps p.inFlight orders open.
func (g *generator) closed(ctx context.Context, p *plan, r *placing) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if p.duration > 0 {
		ctx, stop = context.WithTimeout(ctx, p.duration)
		defer stop()
	}
	slots := make(chan struct{}, p.inFlight)
	g.ends.begin(func() { <-slots })
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(p.placers, p.inFlight) {
		wg.Go(func() {
			for r.failed.Load() == nil {
				n := int(next.Add(1)) - 1
				if p.sagas > 0 && n >= p.sagas {
					return
				}
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				// An order under way when the time is over is placed, and counted; hence the context without an end.
				for g.one(context.WithoutCancel(ctx), p, r, n, time.Now()) != load.Accepted {
					select {
					case <-time.After(10 * time.Millisecond):
						continue
					case <-ctx.Done():
					}
					<-slots
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// open places orders when they are due.
func (g *generator) open(ctx context.Context, p *plan, r *placing) error {
	duration := p.duration
	if p.sagas > 0 { // up to the middle between the last order and the next
		duration = time.Duration((float64(p.sagas) - 0.5) / p.rate * float64(time.Second))
	}
	result, err := load.Run(ctx, load.Options{
		Rate: p.rate, Duration: duration, MaxInFlight: maxWaiting,
		Do: func(ctx context.Context, n int, due time.Time) load.Outcome {
			return g.one(context.WithoutCancel(ctx), p, r, n, due)
		},
	})
	if result != nil {
		r.missed, r.late = result.Missed, result.Late
	}
	return err
}

// wait returns when every order has ended but for so many.
func (g *generator) wait(ctx context.Context, leave int) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	last, since := 0, time.Now()
	for {
		t, open, _ := g.ends.now()
		if open <= leave {
			return nil
		}
		if t.ended() != last {
			last, since = t.ended(), time.Now()
		}
		if err := g.failure(); err != nil {
			return err
		}
		if time.Since(since) > patience {
			return fmt.Errorf("%d orders have not ended, and none has for %s", open, patience)
		}
		select {
		case <-ctx.Done():
			return errStopped
		case <-ticker.C:
		}
	}
}
