package coalesce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"recourse.dev/pkg/pace"
)

// ErrClosed says that the group takes no more inputs.
var ErrClosed = errors.New("coalescing group is closed")

// ErrFull says that as many inputs wait as may.
var ErrFull = errors.New("too many inputs wait for a coalesced run")

// Options bound a Group. Zero values are replaced by the defaults named.
type Options struct {
	// MaxBatch is the largest number of inputs of one run; default 256.
	MaxBatch int
	// Linger is how long the first input of an idle group waits for company; default none. Right where a batch costs
	// hardly more than one and nobody waits for the answer.
	Linger time.Duration
	// Pause is how long after a run the next one begins at the earliest; default none. Without it those who come while a
	// batch is run are the next one, however few: right where they wait for the answer, dear where few at a time cost as
	// much as many.
	Pause time.Duration
	// Beside lets a second run begin beside the one in hand as soon as so many inputs wait: while one waits for the disk,
	// the other has the processor. Default never: runs do not overlap.
	Beside int
	// Timeout bounds one run; default 10 s. A run outlives the callers that have given up waiting for it.
	Timeout time.Duration
	// MaxWaiting is the largest number of inputs that are in and have no answer, those of the run in hand included;
	// default 4096. Inputs whose callers have given up count too: they are still run.
	MaxWaiting int
}

// Group gathers inputs. Make it with New; end it with Close.
type Group[In, Out any] struct {
	run      func(ctx context.Context, batch []In) ([]Out, error)
	maxBatch int
	linger   time.Duration
	pause    time.Duration
	beside   int
	timeout  time.Duration
	max      int

	mu      sync.Mutex
	waiting []*ask[In, Out]
	inside  int
	// lanes counts the drains at work: none, one, or two.
	lanes  int
	closed bool
	pacer  pace.Pacer
	idle   sync.WaitGroup
}

type ask[In, Out any] struct {
	in   In
	out  Out
	err  error
	done chan struct{}
}

// New makes a group over run, which returns one output for each input, in the same order. Runs overlap only
// as Options.Beside says.
func New[In, Out any](run func(ctx context.Context, batch []In) ([]Out, error), o Options) *Group[In, Out] {
	if o.MaxBatch <= 0 {
		o.MaxBatch = 256
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 4096
	}
	return &Group[In, Out]{
		run: run, maxBatch: o.MaxBatch, linger: o.Linger, pause: o.Pause, beside: o.Beside,
		timeout: o.Timeout, max: o.MaxWaiting,
	}
}

// Do returns the output for in. When ctx ends first, the input may still be run: the caller knows nothing about it.
func (g *Group[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	a := &ask[In, Out]{in: in, done: make(chan struct{})}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return a.out, ErrClosed
	}
	if g.inside >= g.max {
		g.mu.Unlock()
		return a.out, ErrFull
	}
	g.inside++
	g.waiting = append(g.waiting, a)
	if g.lanes == 0 || g.lanes == 1 && g.enough() {
		g.lanes++
		g.idle.Add(1)
		go g.drain(g.lanes == 1)
	}
	g.mu.Unlock()

	select {
	case <-a.done:
		return a.out, a.err
	case <-ctx.Done():
		var none Out
		return none, fmt.Errorf("waiting for a coalesced run: %w", context.Cause(ctx))
	}
}

// Waiting counts the inputs that are in and have no answer.
func (g *Group[In, Out]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// Close refuses new inputs and waits until those that are in have been run.
func (g *Group[In, Out]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.idle.Wait()
}

// enough says that there is enough for a run beside another one. It is called with the lock held.
func (g *Group[In, Out]) enough() bool { return g.beside > 0 && len(g.waiting) >= g.beside }

// drain runs batches until nobody waits, or few do and another drain is at work, which comes to them next.
func (g *Group[In, Out]) drain(linger bool) {
	defer g.idle.Done()
	if linger && g.linger > 0 {
		<-time.After(g.linger)
	}
	for {
		g.mu.Lock()
		n := min(len(g.waiting), g.maxBatch)
		if n == 0 || g.lanes > 1 && !g.enough() {
			g.lanes--
			if n == 0 {
				g.waiting = nil
			}
			g.mu.Unlock()
			return
		}
		batch := g.waiting[:n:n]
		g.waiting = g.waiting[n:]
		g.mu.Unlock()
		began := time.Now()
		g.answer(batch)
		ended := time.Now()
		g.mu.Lock()
		pause := max(g.pause, g.pacer.Pause(n, 0, ended.Sub(began), ended))
		g.mu.Unlock()
		if pause > 0 {
			<-time.After(pause)
		}
	}
}

// answer runs one batch and wakes its callers, whatever happens: a panic is their error.
func (g *Group[In, Out]) answer(batch []*ask[In, Out]) {
	var (
		outs []Out
		err  = errors.New("coalesced run did not return")
	)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("coalesced run panicked: %v", p)
		}
		if err == nil && len(outs) != len(batch) {
			err = fmt.Errorf("coalesced run returned %d outputs for %d inputs", len(outs), len(batch))
		}
		g.mu.Lock()
		g.inside -= len(batch)
		g.mu.Unlock()
		for i, a := range batch {
			if a.err = err; err == nil {
				a.out = outs[i]
			}
			close(a.done)
		}
	}()
	ins := make([]In, len(batch))
	for i, a := range batch {
		ins[i] = a.in
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	outs, err = g.run(ctx, ins)
}
