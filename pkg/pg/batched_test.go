package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestInBatches(t *testing.T) {
	t.Parallel()
	errRefused := errors.New("refused")
	lock := func(into *int) func(*pgx.Batch) {
		return func(first *pgx.Batch) {
			first.Queue("SELECT amount FROM account WHERE id = 1 FOR UPDATE").QueryRow(func(row pgx.Row) error {
				return row.Scan(into)
			})
		}
	}
	nothing := func(*pgx.Batch) {}
	// afterwards holds for every end: the connection is back, without locks.
	afterwards := func(t *testing.T, pool *pgxpool.Pool, want int) {
		t.Helper()
		// A broken connection is closed on the way.
		require.Eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 }, 5*time.Second, time.Millisecond)
		require.Equal(t, want, amount(t, pool, 1))
		_, err := pool.Exec(t.Context(), "SELECT FROM account FOR UPDATE NOWAIT")
		require.NoError(t, err)
	}

	t.Run("commits, in two round trips", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		for n := range 3 {
			var counter pg.Counter
			ctx := pg.WithCounter(t.Context(), &counter)
			found := 0
			require.NoError(t, pg.InBatches(ctx, pool, lock(&found), func(_ pgx.Tx, last *pgx.Batch) error {
				last.Queue(addToAccount, 1, found)
				return nil
			}))
			require.Equal(t, 100<<n, found)
			require.Equal(t, 2, counter.RoundTrips())
			require.Equal(t, 2, counter.Statements())
		}
		afterwards(t, pool, 800)
	})
	t.Run("rolls back on an error, once", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		runs := 0
		err := pg.InBatches(t.Context(), pool, nothing, func(tx pgx.Tx, _ *pgx.Batch) error {
			runs++
			_, err := tx.Exec(t.Context(), addToAccount, 1, 5)
			require.NoError(t, err)
			return errRefused
		})
		require.ErrorIs(t, err, errRefused)
		require.Equal(t, 1, runs)
		afterwards(t, pool, 100)
	})
	t.Run("rolls back on a panic", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		require.Panics(t, func() {
			_ = pg.InBatches(t.Context(), pool, nothing, func(tx pgx.Tx, _ *pgx.Batch) error {
				_, err := tx.Exec(t.Context(), addToAccount, 1, 5)
				require.NoError(t, err)
				panic("handler bug")
			})
		})
		afterwards(t, pool, 100)
	})
	t.Run("rolls back when the context ends", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := pg.InBatches(ctx, pool, nothing, func(tx pgx.Tx, last *pgx.Batch) error {
			_, err := tx.Exec(ctx, addToAccount, 1, 5)
			last.Queue(addToAccount, 1, 5)
			cancel()
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
		afterwards(t, pool, 100)
	})
	t.Run("rolls back what went before a failed statement of the first batch", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		err := pg.InBatches(t.Context(), pool, func(first *pgx.Batch) {
			first.Queue(addToAccount, 1, 5)
			first.Queue("SELECT 1 / $1::int", 0)
		}, func(pgx.Tx, *pgx.Batch) error {
			t.Error("nothing is there to work on")
			return nil
		})
		require.Equal(t, "22012", pg.Code(err))
		afterwards(t, pool, 100)
	})
	t.Run("rolls back what went before a failed statement of the last batch", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		err := pg.InBatches(t.Context(), pool, nothing, func(_ pgx.Tx, last *pgx.Batch) error {
			last.Queue(addToAccount, 1, 5)
			last.Queue("SELECT 1 / $1::int", 0)
			last.Queue(addToAccount, 1, 5)
			return nil
		})
		require.Equal(t, "22012", pg.Code(err))
		afterwards(t, pool, 100)
	})
	t.Run("a constraint that is looked at in the commit", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		_, err := pool.Exec(t.Context(), `UPDATE account SET amount = 1 WHERE id = 2;
			ALTER TABLE account ADD CONSTRAINT apart UNIQUE (amount) DEFERRABLE INITIALLY DEFERRED`)
		require.NoError(t, err)
		err = pg.InBatches(t.Context(), pool, nothing, func(_ pgx.Tx, last *pgx.Batch) error {
			last.Queue(addToAccount, 1, -99)
			return nil
		})
		require.Equal(t, pg.UniqueViolation, pg.Code(err))
		afterwards(t, pool, 100)
	})
	t.Run("nil after a failed statement is an error", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		for range 2 { // the COMMIT is prepared the first time
			require.NoError(t, pg.InBatches(t.Context(), pool, nothing, func(pgx.Tx, *pgx.Batch) error { return nil }))
			err := pg.InBatches(t.Context(), pool, nothing, func(tx pgx.Tx, _ *pgx.Batch) error {
				_, _ = tx.Exec(t.Context(), "SELECT 1 / 0")
				return nil
			})
			require.ErrorIs(t, err, pgx.ErrTxCommitRollback, "a commit that rolled back must not look like one that did not")
		}
		afterwards(t, pool, 100)
	})
	t.Run("runs again after a conflict", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		runs, found := 0, 0
		require.NoError(t, pg.InBatches(t.Context(), pool, lock(&found), func(_ pgx.Tx, last *pgx.Batch) error {
			runs++
			last.Queue(addToAccount, 1, runs)
			if runs == 1 {
				last.Queue("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
			}
			return nil
		}))
		require.Equal(t, 2, runs)
		afterwards(t, pool, 102)
	})
	t.Run("lost connection", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		err := pg.InBatches(t.Context(), pool, nothing, func(_ pgx.Tx, last *pgx.Batch) error {
			last.Queue(addToAccount, 1, 5)
			last.Queue("SELECT pg_terminate_backend(pg_backend_pid())")
			return nil
		})
		require.True(t, pg.IsTransient(err), "%v", err)
		afterwards(t, pool, 100)
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		pool.Close()
		err := pg.InBatches(t.Context(), pool, nothing, func(pgx.Tx, *pgx.Batch) error { return nil })
		require.ErrorContains(t, err, "beginning a transaction")
	})
}
