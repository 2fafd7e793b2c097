package chaos

import (
	"context"
	"errors"
	"time"
)

func killProcess(ctx context.Context, w *world, f Fault) (healing, error) {
	u := w.units[f.On]
	u.hold()
	return func(context.Context) error { u.release(); return nil }, u.kill(ctx)
}

func freezeProcess(_ context.Context, w *world, f Fault) (healing, error) {
	u := w.units[f.On]
	return func(context.Context) error { return u.signal(thaw) }, u.signal(freeze)
}

// roll stops and starts services in order, as a deployment does.
func roll(ctx context.Context, w *world, f Fault) (healing, error) {
	names := []string{f.On}
	if f.On == everything {
		names = services
	}
	for _, name := range names {
		u := w.units[name]
		u.hold()
		err := u.stop(ctx)
		u.release()
		if err == nil {
			err = w.awaitReady(ctx, name)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// storm lets a second member of the group come and go.
func storm(ctx context.Context, w *world, f Fault) (healing, error) {
	u := w.units[f.On+copySuffix]
	leave := func(ctx context.Context) error {
		u.hold()
		return u.stop(ctx)
	}
	for begin := time.Now(); time.Since(begin) < f.lasts(); {
		u.release()
		if err := errors.Join(w.awaitReady(ctx, u.name), leave(ctx)); err != nil {
			return leave, err
		}
	}
	return nil, nil
}

// copyKilled kills a second member of the group once it has had its share of the work.
func copyKilled(_ context.Context, w *world, f Fault) (healing, error) {
	u := w.units[f.On+copySuffix]
	u.release()
	return func(ctx context.Context) error {
		u.hold()
		return u.kill(ctx)
	}, nil
}

// twoOwners stops a service for longer than its session lasts while another one takes its partitions over: what it had
// in hand when it was stopped, it goes on with as a second owner.
func twoOwners(ctx context.Context, w *world, f Fault) (healing, error) {
	u, other := w.units[f.On], w.units[f.On+copySuffix]
	other.release()
	end := func(ctx context.Context) error {
		err := u.signal(thaw)
		if err == nil {
			err = pause(ctx, time.Second)
		}
		other.hold()
		return errors.Join(err, other.stop(ctx))
	}
	if err := w.awaitReady(ctx, other.name); err != nil {
		return end, err
	}
	return end, u.signal(freeze)
}

const readyPatience = 12 * time.Second

// awaitReady waits for a service for a while. That one is not ready by then is no fault of the fault: another one may
// be at work.
func (w *world) awaitReady(ctx context.Context, name string) error {
	for begin := time.Now(); time.Since(begin) < readyPatience; {
		if w.isReady(ctx, name) {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
