package pg

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	maxTries        = 10
	firstRetry      = 5 * time.Millisecond
	longestRetry    = 500 * time.Millisecond
	rollbackTimeout = 5 * time.Second
)

// Beginner is what a transaction can be opened on: a pool or one connection of it.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// InTx runs fn in one transaction and commits when it returns nil. A serialization failure or deadlock, in fn or in the
// commit, rolls back and runs fn again after a jittered pause, a bounded number of times; fn must be repeatable.
//
// An error from a lost connection in the commit is not retried: nobody knows whether it was committed. It satisfies
// IsTransient, and callers find out by reading.
func InTx(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	return Retry(ctx, func() error { return once(ctx, db, fn) })
}

// Retry runs fn, which makes a transaction of its own, and runs it again after a serialization failure or deadlock, as
// InTx does.
func Retry(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		if err == nil || !isConflict(err) || try == maxTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause(try)):
		}
	}
}

// InTxV is InTx for a function with a value. The value of the run that was committed is returned.
func InTxV[T any](ctx context.Context, db Beginner, fn func(tx pgx.Tx) (T, error)) (T, error) {
	var value T
	err := InTx(ctx, db, func(tx pgx.Tx) error {
		var err error
		value, err = fn(tx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

func once(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	// Also when fn panics, and also when ctx has ended: the connection must not go back to the pool, nor the locks
	// stay on the server, with a transaction open. After a commit it does nothing.
	defer rollback(ctx, tx)
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // when it fails pgx closes the connection, which rolls back as well
}

// pause doubles up to a cap, with full jitter: the transactions that met once must not meet again in step.
func pause(try int) time.Duration {
	limit := min(firstRetry<<(try-1), longestRetry)
	return rand.N(limit) + time.Millisecond
}
