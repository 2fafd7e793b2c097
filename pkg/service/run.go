package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Component is one part of a process. Every function may be nil.
type Component struct {
	Name string
	// Start comes first and must return before the next component starts.
	Start func(ctx context.Context) error
	// Run does the work until its context ends, finishes what it has in hand and returns nil.
	// If it returns earlier, with or without an error, the whole process stops.
	Run func(ctx context.Context) error
	// Stop comes after Run has returned. Its context ends at the deadline of the whole shutdown.
	Stop func(ctx context.Context) error
}

// running is a component that was started.
type running struct {
	Component
	cancel context.CancelFunc
	done   chan struct{}
}

// Run starts the components in order, waits until ctx ends or one of them does, and stops them in reverse.
// All of them together have drainTimeout to stop. The error names every component that failed or did not stop in time;
// it is nil if ctx ended and everything stopped well.
func Run(ctx context.Context, log *slog.Logger, drainTimeout time.Duration, components ...Component) error {
	var (
		started []*running
		errs    []error
		// Room for all: a component that ends during the shutdown must not block.
		ended = make(chan error, len(components))
	)
	for _, c := range components {
		r, err := start(ctx, c, ended)
		if err != nil {
			errs = append(errs, err)
			break
		}
		started = append(started, r)
		log.DebugContext(ctx, "component started", "component", c.Name)
	}
	if len(errs) == 0 {
		log.InfoContext(ctx, "started", "components", len(started))
		select {
		case <-ctx.Done():
			log.InfoContext(ctx, "stopping", "cause", context.Cause(ctx), "drain_timeout", drainTimeout)
		case err := <-ended:
			errs = append(errs, err)
			log.ErrorContext(ctx, "stopping because a component ended", "error", err)
		}
	}

	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for i := len(started) - 1; i >= 0; i-- {
		if err := stop(stopCtx, started[i]); err != nil {
			errs = append(errs, err)
		}
	}
	// Errors of components that ended while others were being stopped.
	for len(ended) > 0 {
		errs = append(errs, <-ended)
	}
	err := errors.Join(errs...)
	if err == nil {
		log.InfoContext(ctx, "stopped")
	}
	return err
}

func start(ctx context.Context, c Component, ended chan<- error) (*running, error) {
	if c.Start != nil {
		if err := c.Start(ctx); err != nil {
			return nil, fmt.Errorf("starting %s: %w", c.Name, err)
		}
	}
	// Not a child of ctx: its end is the order to begin stopping in reverse, not to stop everything at once.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Component: c, cancel: cancel, done: make(chan struct{})}
	if c.Run == nil {
		close(r.done)
		return r, nil
	}
	go func() {
		defer close(r.done)
		err := c.Run(runCtx)
		switch {
		case err != nil:
			ended <- fmt.Errorf("running %s: %w", c.Name, err)
		case runCtx.Err() == nil:
			ended <- fmt.Errorf("running %s: it ended by itself", c.Name)
		}
	}()
	return r, nil
}

func stop(ctx context.Context, r *running) error {
	r.cancel()
	select {
	case <-r.done:
	case <-ctx.Done():
		// Both may be true, and a component that has ended deserves its Stop.
		select {
		case <-r.done:
		default:
			return fmt.Errorf("stopping %s: still running at the end of the drain timeout", r.Name)
		}
	}
	if r.Stop == nil {
		return nil
	}
	if err := r.Stop(ctx); err != nil {
		return fmt.Errorf("stopping %s: %w", r.Name, err)
	}
	return nil
}
