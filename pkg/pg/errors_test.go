package pg_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

// Each case makes the real error, as what pgx wraps it in is the point.
func TestIsTransient(t *testing.T) {
	t.Parallel()

	t.Run("server gone in mid-transaction", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			var pid int
			require.NoError(t, tx.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid))
			_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend($1, 5000)", pid)
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "SELECT 1")
			require.Error(t, err)
			require.True(t, pg.IsTransient(err), "first use: %v", err)
			_, err = tx.Exec(t.Context(), "SELECT 1")
			require.True(t, pg.IsTransient(err), "later use: %v", err)
			return nil
		})
		require.True(t, pg.IsTransient(err), "commit: %v", err)
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = pgx.Connect(t.Context(), "postgres://u:p@"+l.Addr().String()+"/x?sslmode=disable")
		require.True(t, pg.IsTransient(err), "%v", err)
	})
	t.Run("listener hangs up", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		_, err = pgx.Connect(t.Context(), "postgres://u:p@"+l.Addr().String()+"/x?sslmode=disable")
		require.True(t, pg.IsTransient(err), "%v", err)
	})
	t.Run("login refused", func(t *testing.T) {
		t.Parallel()
		u, err := url.Parse(pgtest.URL(t, nil))
		require.NoError(t, err)
		u.User = url.UserPassword("nobody", "x")
		_, err = pgx.Connect(t.Context(), u.String())
		require.True(t, pg.IsTransient(err), "not the record's fault: %v", err)
	})
	t.Run("pool closed", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		pool.Close()
		_, err := pool.Exec(t.Context(), "SELECT 1")
		require.True(t, pg.IsTransient(err), "%v", err)
	})
	t.Run("we are being stopped", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := pgtest.DB(t, nil).Exec(ctx, "SELECT 1")
		require.True(t, pg.IsTransient(err), "%v", err)
	})

	for _, tt := range []struct {
		name      string
		sql       string
		transient bool
	}{
		{"statement timeout", "SET LOCAL statement_timeout = 10; SELECT pg_sleep(9)", true},
		{"standby", "SET TRANSACTION READ ONLY; CREATE TABLE t ()", true},
		{"disk full", "DO $$BEGIN RAISE EXCEPTION USING errcode = '53100'; END$$", true},
		{"starting up", "DO $$BEGIN RAISE EXCEPTION USING errcode = '57P03'; END$$", true},
		{"database dropped", "DO $$BEGIN RAISE EXCEPTION USING errcode = '57P04'; END$$", false},
		{"unique violation", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (1)", false},
		{"missing table", "SELECT FROM missing", false},
		{"division by zero", "SELECT 1 / 0", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := pg.InTx(t.Context(), pgtest.DB(t, nil), func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), tt.sql)
				return err
			})
			require.Error(t, err)
			require.Equal(t, tt.transient, pg.IsTransient(fmt.Errorf("storing: %w", err)), "%v", err)
		})
	}
	require.False(t, pg.IsTransient(nil))
	require.False(t, pg.IsTransient(pgx.ErrNoRows))
}

func TestIsTransient_plan_outdated_by_a_migration(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, nil)
	_, err := pool.Exec(t.Context(), "CREATE TABLE thing (a int)")
	require.NoError(t, err)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	read := func() error {
		return pg.InTx(t.Context(), conn, func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), "SELECT * FROM thing")
			require.NoError(t, err)
			rows.Close()
			return rows.Err()
		})
	}
	require.NoError(t, read())
	_, err = pool.Exec(t.Context(), "ALTER TABLE thing ALTER a TYPE bigint")
	require.NoError(t, err)
	err = read()
	require.Error(t, err)
	require.True(t, pg.IsTransient(err), "%v", err)
	require.NoError(t, read(), "the next run makes a new plan")
}

func TestConstraint(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, nil)
	_, err := pool.Exec(t.Context(), "CREATE TABLE level (n int CONSTRAINT level_not_oversold CHECK (n >= 0))")
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO level VALUES (-1)")
	require.Equal(t, pg.CheckViolation, pg.Code(fmt.Errorf("reserving: %w", err)))
	require.Equal(t, "level_not_oversold", pg.Constraint(err))
	require.Empty(t, pg.Code(context.Canceled))
	require.Empty(t, pg.Constraint(&pgconn.ConnectError{}))
}
