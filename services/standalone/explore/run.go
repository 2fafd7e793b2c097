package explore

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"recourse.dev/coordinator/saga"
	"recourse.dev/coordinator/saga/scenario"
)

// Options of a run.
type Options struct {
	Bounds Bounds
	// Full applies the bounds to every definition, also to one that is too large for them in a short run.
	Full bool
	// Only is the name of the one definition to explore; empty is all of them.
	Only string
	// MaxStates ends the search of a definition early; 0 is no end. Such a run is not complete.
	MaxStates int
	// Workers explore definitions side by side; 0 is one for each core.
	Workers int
	// Code is Production unless a defect is to be found.
	Code Code
	// Each is told about a definition as soon as it is explored.
	Each func(Result)
}

// Result is what was seen of one definition.
type Result struct {
	Definition  string
	States      int
	Transitions int64
	// Depth is the number of moves to the state that is farthest from the start.
	Depth int
	// Completed and Compensated count states.
	Completed, Compensated int
	Complete               bool
	Seconds                float64
	Violation              *Violation
}

// Violation is a broken promise and the shortest way to it.
type Violation struct {
	Definition string `json:"definition"`
	What       string `json:"what"`
	// Moves is the length of the way.
	Moves int `json:"moves"`
	// Scenario is the way as a file for coordinator/saga/testdata.
	Scenario string `json:"-"`
}

// Report is what a run ends with; it is printed as one line of JSON.
type Report struct {
	Definitions int     `json:"definitions"`
	States      int     `json:"states"`
	Transitions int64   `json:"transitions"`
	Violations  int     `json:"violations"`
	Complete    bool    `json:"complete"`
	Rows        int     `json:"rows"`
	Seconds     float64 `json:"seconds"`
	// First is the first violation of the first definition that has one.
	First *Violation `json:"first,omitempty"`
}

// Failed says that the run is not green.
func (r *Report) Failed() bool { return r.Violations > 0 || r.Definitions == 0 }

// Names lists the definitions.
func Names() []string {
	var out []string
	for _, d := range definitions {
		out = append(out, d.name)
	}
	return out
}

// Run explores the definitions. It stops early when ctx ends.
func Run(ctx context.Context, o Options) Report {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Code.Decide == nil {
		o.Code = Production()
	}
	begin := time.Now()
	work := make(chan int)
	results := make([]*Result, len(definitions))
	var mu sync.Mutex
	var taken rows
	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(func() {
			for i := range work {
				x := newExplorer(&definitions[i], &o)
				x.explore(ctx)
				x.out.States = len(x.links)
				mu.Lock()
				taken.add(&x.rows)
				results[i] = &x.out
				if o.Each != nil {
					o.Each(x.out)
				}
				mu.Unlock()
			}
		})
	}
	for i, d := range definitions {
		if o.Only == "" || o.Only == d.name {
			work <- i
		}
	}
	close(work)
	wg.Wait()
	r := Report{Complete: true, Rows: taken.count(), Seconds: time.Since(begin).Seconds()}
	for _, res := range slices.DeleteFunc(results, func(r *Result) bool { return r == nil }) {
		r.Definitions++
		r.States += res.States
		r.Transitions += res.Transitions
		r.Complete = r.Complete && res.Complete
		if res.Violation != nil {
			r.Violations++
			if r.First == nil {
				r.First = res.Violation
			}
		}
	}
	return r
}

func newExplorer(of *definition, o *Options) *explorer {
	d, err := scenario.Define(of.text)
	if err != nil {
		panic(err) // a part of the program
	}
	x := &explorer{
		name: of.name, text: of.text, def: d, code: o.Code, bounds: o.Bounds, most: o.MaxStates,
		ids: map[key]uint32{}, out: Result{Definition: of.name},
	}
	if !o.Full {
		x.bounds = o.Bounds.within(of.most)
	}
	for i, spec := range d.Steps() {
		x.keys[i] = 1
		if spec.Kind == saga.Retriable && !spec.Optional {
			x.keys[i] = maxKeys
		}
	}
	return x
}

// definition is a small definition, and what may happen to it unless Options.Full is set: enough to be complete within
// a minute, and every fault with some definition.
type definition struct {
	name, text string
	most       Bounds
}

// definitions together have every kind of step and of neighbourhood. The largest come first, so that the cores end
// together.
var definitions = []definition{
	{
		"parallel_back", `a compensatable a give_up=2 | b compensatable b give_up=1`,
		Bounds{Repeats: 1, Crashes: 1, UndoRefusals: 1},
	},
	{"no_pivot", `a compensatable a give_up=2
b compensatable b outside give_up=2`, Bounds{Repeats: 2, Crashes: 1}},
	{
		"alone", `a compensatable a outside give_up=2`,
		Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1, Retries: 1},
	},
	{"outside", `a compensatable a outside give_up=2
p pivot p outside give_up=2`, Bounds{Repeats: 2, Crashes: 1}},
	{"parallel", `a compensatable a give_up=1 | b compensatable b give_up=1
p pivot p give_up=1`, Bounds{Repeats: 2, Crashes: 1}},
	{"retriable", `a compensatable a give_up=2
r retriable r outside give_up=2`, Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1, Retries: 1}},
	{"forward", `p pivot p give_up=2
r retriable r give_up=2 | o retriable o optional give_up=2`, Bounds{Repeats: 2, Crashes: 1}},
	{"chain", `a compensatable a give_up=1
b compensatable b give_up=1
p pivot p give_up=2`, Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1}},
	{"whole", `a compensatable a give_up=1
p pivot p give_up=1
r retriable r give_up=1`, Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1, Retries: 1}},
	{"optional", `a compensatable a give_up=2
o retriable o outside optional give_up=2`, Bounds{Repeats: 2, Crashes: 1, UndoRefusals: 1, Retries: 1}},
}

func (b Bounds) within(most Bounds) Bounds {
	return Bounds{
		Repeats: min(b.Repeats, most.Repeats), Crashes: min(b.Crashes, most.Crashes),
		UndoRefusals: min(b.UndoRefusals, most.UndoRefusals), Retries: min(b.Retries, most.Retries),
	}
}
