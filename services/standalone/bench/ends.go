package bench

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator"
	"recourse.dev/services/standalone/load"
)

// ends matches the orders that were placed with their ends.
type ends struct {
	// heard takes the ends of a commit over from the coordinator, which must not wait for the counting.
	heard chan commit

	mu   sync.Mutex
	open map[uuid.UUID]time.Time
	// early ends came before the answer to whoever placed the order.
	early map[uuid.UUID]early
	tally
	// gone is called for every order that ended, if set.
	gone func()
}

// tally is what has ended since the last begin.
type tally struct {
	took *load.Histogram
	quantiles
	completed, compensated int
	// last is when the last order ended.
	last time.Time
}

// quantiles are times in milliseconds.
type quantiles struct {
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
}

func quantilesOf(h *load.Histogram) quantiles {
	at := func(percent float64) float64 { return milliseconds(h.At(percent)) }
	return quantiles{at(50), at(95), at(99), at(99.9)}
}

func (t *tally) ended() int { return t.completed + t.compensated }

type commit struct {
	at   time.Time
	ends []coordinator.End
}

type early struct {
	at        time.Time
	completed bool
}

func newEnds() *ends {
	return &ends{
		heard: make(chan commit, 4096), open: map[uuid.UUID]time.Time{}, early: map[uuid.UUID]early{},
		tally: tally{took: load.NewHistogram()},
	}
}

// hear is what the coordinator calls.
func (e *ends) hear(list []coordinator.End) { e.heard <- commit{time.Now(), list} }

// run counts until ctx ends.
func (e *ends) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-e.heard:
			e.mu.Lock()
			for _, end := range c.ends {
				if due, ok := e.open[end.Order]; ok {
					delete(e.open, end.Order)
					e.count(c.at, due, end.Completed)
				} else {
					e.early[end.Order] = early{c.at, end.Completed}
				}
			}
			e.mu.Unlock()
		}
	}
}

func (e *ends) count(at, due time.Time, completed bool) {
	e.took.Record(at.Sub(due))
	if completed {
		e.completed++
	} else {
		e.compensated++
	}
	if at.After(e.last) {
		e.last = at
	}
	if e.gone != nil {
		e.gone()
	}
}

// expect waits for the end of an order that was due to be placed at the given time.
func (e *ends) expect(id uuid.UUID, due time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if early, ok := e.early[id]; ok {
		delete(e.early, id)
		e.count(early.at, due, early.completed)
		return
	}
	e.open[id] = due
}

// begin forgets what has ended so far.
func (e *ends) begin(gone func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tally, e.gone = tally{took: load.NewHistogram()}, gone
}

// now is the tally, how many orders are open, and how many ended that nobody placed.
func (e *ends) now() (t tally, open, strangers int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quantiles = quantilesOf(e.took)
	return e.tally, len(e.open), len(e.early)
}
