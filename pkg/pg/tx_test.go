package pg_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func setupAccounts(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.DB(t, nil)
	_, err := pool.Exec(t.Context(), `
		CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL);
		INSERT INTO account VALUES (1, 100), (2, 100);`)
	require.NoError(t, err)
	return pool
}

func amount(t *testing.T, pool *pgxpool.Pool, id int) (amount int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT amount FROM account WHERE id = $1", id).Scan(&amount))
	return amount
}

const addToAccount = "UPDATE account SET amount = amount + $2 WHERE id = $1"

func TestInTx(t *testing.T) {
	t.Parallel()
	errRefused := errors.New("refused")

	t.Run("commits", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		v, err := pg.InTxV(t.Context(), pool, func(tx pgx.Tx) (string, error) {
			_, err := tx.Exec(t.Context(), addToAccount, 1, 5)
			return "done", err
		})
		require.NoError(t, err)
		require.Equal(t, "done", v)
		require.Equal(t, 105, amount(t, pool, 1))
	})
	t.Run("rolls back on an error, once", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		runs := 0
		v, err := pg.InTxV(t.Context(), pool, func(tx pgx.Tx) (string, error) {
			runs++
			_, err := tx.Exec(t.Context(), addToAccount, 1, 5)
			require.NoError(t, err)
			return "not this", errRefused
		})
		require.ErrorIs(t, err, errRefused)
		require.Empty(t, v, "no value of a transaction that was not")
		require.Equal(t, 1, runs)
		require.Equal(t, 100, amount(t, pool, 1))
	})
	t.Run("rolls back on a panic and gives the connection back", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		require.Panics(t, func() {
			_ = pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), addToAccount, 1, 5)
				require.NoError(t, err)
				panic("handler bug")
			})
		})
		require.Equal(t, 100, amount(t, pool, 1))
		require.Zero(t, pool.Stat().AcquiredConns())
	})
	t.Run("rolls back when the context ends", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := pg.InTx(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, addToAccount, 1, 5)
			cancel()
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
		// The row lock is gone too, or this would hang.
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), addToAccount, 1, 1)
			return err
		}))
		require.Equal(t, 101, amount(t, pool, 1))
	})
	t.Run("nil after a failed statement is an error", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, _ = tx.Exec(t.Context(), "SELECT 1 / 0")
			return nil
		})
		require.ErrorIs(t, err, pgx.ErrTxCommitRollback, "a commit that rolled back must not look like one that did not")
	})
}

func TestInTx_Retry(t *testing.T) {
	t.Parallel()

	t.Run("deadlock", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		var met [2]chan struct{}
		met[0], met[1] = make(chan struct{}), make(chan struct{})
		g, ctx := errgroup.WithContext(t.Context())
		runs := make(chan int, 2)
		for me := range 2 {
			g.Go(func() error {
				n := 0
				err := pg.InTx(ctx, pool, func(tx pgx.Tx) error {
					n++
					if _, err := tx.Exec(ctx, addToAccount, 1+me, 1); err != nil {
						return err
					}
					if n == 1 { // both hold their first row before either asks for the second
						close(met[me])
						<-met[1-me]
					}
					_, err := tx.Exec(ctx, addToAccount, 2-me, 1)
					return err
				})
				runs <- n
				return err
			})
		}
		require.NoError(t, g.Wait())
		require.GreaterOrEqual(t, <-runs+<-runs, 3, "one of the two ran again")
		require.Equal(t, 102, amount(t, pool, 1))
		require.Equal(t, 102, amount(t, pool, 2))
	})
	t.Run("serialization failure at commit", func(t *testing.T) {
		t.Parallel()
		pool := setupAccounts(t)
		sum := func(tx pgx.Tx, level string) (int, error) {
			if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL "+level); err != nil {
				return 0, err
			}
			var n int
			err := tx.QueryRow(t.Context(), "SELECT sum(amount) FROM account").Scan(&n)
			return n, err
		}
		runs := 0
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			runs++
			if _, err := sum(tx, "SERIALIZABLE"); err != nil {
				return err
			}
			if runs == 1 { // another one reads the same and writes a row that we have read
				require.NoError(t, pg.InTx(t.Context(), pool, func(other pgx.Tx) error {
					n, err := sum(other, "SERIALIZABLE")
					require.NoError(t, err)
					_, err = other.Exec(t.Context(), addToAccount, 2, n)
					return err
				}))
			}
			_, err := tx.Exec(t.Context(), addToAccount, 1, 1)
			return err
		}))
		require.Equal(t, 2, runs)
		require.Equal(t, 101, amount(t, pool, 1))
	})
	t.Run("bounded", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		runs := 0
		err := pg.InTx(t.Context(), pool, func(pgx.Tx) error {
			runs++
			return &pgconn.PgError{Code: pg.SerializationFailure}
		})
		require.Equal(t, pg.SerializationFailure, pg.Code(err))
		require.Equal(t, 10, runs)
		require.True(t, pg.IsTransient(err), "the loop above may try again later")
	})
}
