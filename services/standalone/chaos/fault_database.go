package chaos

import (
	"context"
	"fmt"
)

func databaseKill(ctx context.Context, w *world, _ Fault) (healing, error) {
	return w.releaseDatabase, w.database.kill(ctx)
}

func databaseQuit(ctx context.Context, w *world, _ Fault) (healing, error) {
	return w.releaseDatabase, w.database.quit(ctx)
}

func databaseFreeze(_ context.Context, w *world, _ Fault) (healing, error) {
	return func(context.Context) error { return w.database.signal(thaw) }, w.database.signal(freeze)
}

// releaseDatabase returns when it is up again, so that the next fault finds one.
func (w *world) releaseDatabase(ctx context.Context) error {
	w.database.release()
	return w.awaitDatabase(ctx)
}

func (w *world) awaitDatabase(ctx context.Context) (err error) {
	for range 300 {
		if err = w.database.exec(ctx, "SELECT 1"); err == nil {
			return nil
		}
		if err := pause(ctx, 100*ms); err != nil {
			return err
		}
	}
	return err
}

// sessionsEnded ends a service's sessions again and again, in the middle of whatever they do.
func sessionsEnded(ctx context.Context, w *world, f Fault) (healing, error) {
	end := fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'recourse_%s'", f.On)
	for left := f.lasts(); left > 0; left -= 250 * ms {
		if err := w.database.exec(ctx, end); err != nil {
			return nil, err
		}
		if err := pause(ctx, 250*ms); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func diskFull(_ context.Context, w *world, _ Fault) (healing, error) {
	return func(ctx context.Context) error {
		if err := w.database.freeDisk(); err != nil {
			return err
		}
		return w.awaitDatabase(ctx)
	}, w.database.fillDisk()
}

func readOnly(ctx context.Context, w *world, _ Fault) (healing, error) {
	set := func(ctx context.Context, to string) error {
		return w.database.exec(ctx, "ALTER SYSTEM SET default_transaction_read_only = "+to, "SELECT pg_reload_conf()")
	}
	return func(ctx context.Context) error { return again(ctx, func() error { return set(ctx, "off") }) }, set(ctx, "on")
}

// again tries what must be undone until it is.
func again(ctx context.Context, do func() error) (err error) {
	for range 100 {
		if err = do(); err == nil {
			return nil
		}
		if err := pause(ctx, 200*ms); err != nil {
			return err
		}
	}
	return err
}
