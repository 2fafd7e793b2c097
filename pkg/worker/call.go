package worker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/pkg/crash"
)

// calls holds the outside calls of this process: waiting for a slot, on their way, or come back and not yet settled.
// All of it may be lost at any moment; the rows in doubt are what lasts.
type calls struct {
	// ctx ends when the calls shall; it is nobody's request.
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	wg     sync.WaitGroup

	mu sync.Mutex
	// open has every call from its start to its settlement, so that this process never asks one question twice at
	// the same time. The value is the question that was claimed again meanwhile, or nil: the resolver may find a row
	// due between the commit of a settlement and the end of its call here. It has the lease then, so that nobody else
	// would ask before that has ended; it is asked as soon as the call before it is over.
	open  map[openCall]*command
	ready []*answer
	// changed is closed and replaced whenever open or ready change.
	changed chan struct{}
}

type openCall struct {
	key rowKey
	op  Operation
}

func newCalls(limit int) *calls {
	ctx, cancel := context.WithCancel(context.Background())
	return &calls{
		ctx:     ctx,
		cancel:  cancel,
		slots:   make(chan struct{}, limit),
		open:    make(map[openCall]*command),
		changed: make(chan struct{}),
	}
}

// start sends commands on their way; it does not wait.
func (c *calls) start(w *Worker, batch []*command) {
	if len(batch) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, command := range batch {
		question := openCall{command.key(), command.op}
		if _, asked := c.open[question]; asked {
			c.open[question] = command
			continue
		}
		c.open[question] = nil
		c.wg.Go(func() { c.run(w, command) })
	}
}

func (c *calls) run(w *Worker, command *command) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		c.drop(w, command)
		return
	}
	// A call that begins too late could still be on its way when its lease has ended and the resolver asks again.
	if c.ctx.Err() != nil || w.Now().After(command.latest) {
		c.drop(w, command)
		return
	}
	w.metrics.callsInFlight.Inc()
	defer w.metrics.callsInFlight.Dec()
	started := time.Now()
	a := w.ask(c.ctx, command)
	if err := crash.Fail(crash.WorkerAfterAnswer); err != nil {
		a = &answer{command: command, err: err}
	}
	result := "answered"
	if a.err != nil {
		result = "unknown"
	}
	w.metrics.callSeconds.WithLabelValues(command.messageType(), result).Observe(time.Since(started).Seconds())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = append(c.ready, a)
	c.signal()
}

// ask makes one outside call. Whatever goes wrong in it, the outcome is unknown.
func (w *Worker) ask(ctx context.Context, c *command) (a *answer) {
	ctx, cancel := context.WithTimeout(c.traced(ctx), w.cfg.CallTimeout)
	defer cancel()
	ctx, span := w.tracer.Start(ctx, "worker.call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("command", c.messageType()), attribute.String("effect_key", c.Key),
		attribute.Int("probe", c.Probe)))
	defer span.End()
	defer func() {
		if cause := recover(); cause != nil {
			a = &answer{command: c, err: fmt.Errorf("panic: %v", cause)}
			w.log.ErrorContext(ctx, "call panicked", slog.String("effect_key", c.Key),
				slog.String("command", c.messageType()), slog.Any("panic", cause),
				slog.String("stack", string(debug.Stack())))
		}
		if a.err != nil {
			span.SetStatus(codes.Error, a.err.Error())
		}
	}()
	ask := c.reg.call
	if c.op == OpUndo {
		ask = c.reg.callUndo
	}
	if err := crash.Fail(crash.WorkerBeforeCall); err != nil {
		return &answer{command: c, err: err}
	}
	result, err := ask(ctx, c)
	if err != nil {
		return &answer{command: c, err: err}
	}
	return &answer{command: c, result: result}
}

// wait blocks until a call has come back. It returns false when none is on its way.
func (c *calls) wait(ctx context.Context) (bool, error) {
	var some bool
	err := c.until(ctx, func() bool {
		some = len(c.ready) > 0
		return some || len(c.open) == 0
	})
	return some, err
}

// take returns what has come back, oldest first.
func (c *calls) take(limit int) []*answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(limit, len(c.ready))
	taken := c.ready[:n:n]
	c.ready = c.ready[n:]
	return taken
}

// putBack returns answers that could not be settled.
func (c *calls) putBack(answers []*answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = append(answers, c.ready...)
	c.signal()
}

// forget ends calls that are settled, which left the rows as they are given.
func (c *calls) forget(w *Worker, answers []*answer, rows map[rowKey]*storedRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answers {
		row := rows[a.key()]
		c.end(w, a.command, row != nil && row.State == openState(a.op))
	}
	c.signal()
}

// drop ends a call that was never made.
func (c *calls) drop(w *Worker, command *command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(w, command, true)
	c.signal()
}

// end takes the call off the open ones and, if the question is still open, begins the one that waited for it; the caller
// holds mu.
func (c *calls) end(w *Worker, command *command, stillOpen bool) {
	question := openCall{command.key(), command.op}
	next := c.open[question]
	delete(c.open, question)
	if next != nil && stillOpen {
		c.open[question] = nil
		c.wg.Go(func() { c.run(w, next) })
	}
}

// back counts the answers that are not settled.
func (c *calls) back() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ready)
}

func (c *calls) outstanding() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// close ends the calls that are on their way; what they asked stays in doubt.
func (c *calls) close() {
	c.cancel()
	c.wg.Wait()
}

// signal wakes everybody who waits; the caller holds mu.
func (c *calls) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// until blocks until the condition holds; it is looked at under mu.
func (c *calls) until(ctx context.Context, condition func() bool) error {
	for {
		c.mu.Lock()
		holds, changed := condition(), c.changed
		c.mu.Unlock()
		if holds {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
