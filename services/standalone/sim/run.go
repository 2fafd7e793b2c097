package sim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
)

// Options of a run.
type Options struct {
	// Seeds is the number of histories, From the first seed.
	Seeds, From uint64
	// Workers play side by side; 0 is one for each core.
	Workers int
}

// Report is what a run ends with; it is printed as one line of JSON.
type Report struct {
	Histories  uint64           `json:"histories"`
	Events     uint64           `json:"events"`
	Seconds    float64          `json:"seconds"`
	Violations int              `json:"violations"`
	Sometimes  map[string]int64 `json:"sometimes"`
	// Never lists the paths that were not taken; a run of fewer than 20,000 histories may miss some.
	Never []string `json:"never,omitempty"`
	// First is the violation with the lowest seed.
	First *Violation `json:"first,omitempty"`
	// Hash mixes the trace hashes of all histories.
	Hash string `json:"hash"`
}

// Violation is a history that broke an invariant.
type Violation struct {
	Seed  uint64   `json:"seed"`
	What  string   `json:"what"`
	Trace []string `json:"trace"`
}

// enough is the number of histories after which every path must have been taken.
const enough = 20_000

// Failed says that the run is not green.
func (r *Report) Failed() bool { return r.Violations > 0 || len(r.Never) > 0 }

// Run plays seeds From … From+Seeds-1. It stops early when ctx ends.
func Run(ctx context.Context, o Options) Report {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	start := time.Now()
	var next, played, events, hash atomic.Uint64
	next.Store(o.From)
	total := make([]counters, o.Workers)
	var mu sync.Mutex
	var first *Violation
	violations := 0
	var wg sync.WaitGroup
	for k := range o.Workers {
		wg.Go(func() {
			w, defs := newWorld(), definitions()
			for ctx.Err() == nil {
				seed := next.Add(1) - 1
				if seed >= o.From+o.Seeds {
					return
				}
				err := w.play(defs[seed%uint64(len(defs))], seed, &total[k])
				played.Add(1)
				events.Add(uint64(w.events))
				hash.Add(w.hash)
				if err != nil {
					mu.Lock()
					violations++
					if first == nil || seed < first.Seed {
						first = &Violation{Seed: seed, What: err.Error()}
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if first != nil {
		_, first.Trace, _ = Replay(first.Seed)
	}
	r := Report{
		Histories: played.Load(), Events: events.Load(), Seconds: time.Since(start).Seconds(),
		Violations: violations, First: first, Sometimes: map[string]int64{}, Hash: fmt.Sprintf("%016x", hash.Load()),
	}
	for s, name := range sometimesNames {
		var n int64
		for k := range total {
			n += total[k][s]
		}
		r.Sometimes[name] = n
		if n == 0 && r.Histories >= enough {
			r.Never = append(r.Never, name)
		}
	}
	return r
}

// Replay plays one seed and tells what happened.
func Replay(seed uint64) (hash uint64, trace []string, err error) {
	w, defs := newWorld(), definitions()
	w.record = true
	var c counters
	err = w.play(defs[seed%uint64(len(defs))], seed, &c)
	return w.hash, w.trace, err
}

// definitions are played in turn: the shipped one, and shapes that it does not have.
func definitions() []*saga.Definition {
	fulfilment, err := order.Fulfilment(order.DefaultTiming)
	if err != nil {
		panic(err) // a part of the program
	}
	r := saga.Retry{First: 5 * time.Second, Max: time.Minute, GiveUp: 4}
	step := func(name string, kind saga.Kind, outside, optional bool) saga.Step {
		s := saga.Step{Name: name, Participant: name, Kind: kind, Outside: outside, Optional: optional, Do: "do", Effect: "effect", Retry: r}
		if kind == saga.Compensatable {
			s.Undo = "undo"
		}
		return s
	}
	return []*saga.Definition{
		fulfilment,
		saga.MustDefine("sim.parallel", 1, 15*time.Minute,
			saga.Stage{step("a", saga.Compensatable, false, false), step("b", saga.Compensatable, true, false)},
			saga.Stage{step("c", saga.Compensatable, true, false)},
			saga.Stage{step("p", saga.Pivot, true, false)},
			saga.Stage{step("r", saga.Retriable, false, false), step("o", saga.Retriable, true, true)},
		),
		saga.MustDefine("sim.no_pivot", 1, 15*time.Minute,
			saga.Stage{step("a", saga.Compensatable, false, false), step("b", saga.Compensatable, false, false)},
			saga.Stage{step("c", saga.Compensatable, false, false)},
		),
	}
}
