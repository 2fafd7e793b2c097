package pg_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
)

func TestCheckDurable(t *testing.T) {
	t.Parallel()

	t.Run("test servers are", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, pg.CheckDurable(t.Context(), pgtest.DB(t, nil)))
	})
	t.Run("a database's own default counts", func(t *testing.T) {
		t.Parallel()
		address := pgtest.URL(t, nil)
		conn, err := pgx.Connect(t.Context(), address)
		require.NoError(t, err)
		name := pgx.Identifier{conn.Config().Database}.Sanitize()
		_, err = conn.Exec(t.Context(), "ALTER DATABASE "+name+" SET synchronous_commit = off")
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))

		err = pg.CheckDurable(t.Context(), pgtest.Pool(t, address))
		require.ErrorContains(t, err, "synchronous_commit = off")
		require.ErrorContains(t, err, "RESET synchronous_commit")
		require.NotContains(t, err.Error(), "fsync")
	})
	t.Run("server settings", func(t *testing.T) {
		t.Parallel()
		s, err := pgserver.Start(t.Context(), pgserver.Options{
			DataDir:  pgtest.Dir(t),
			Settings: map[string]string{"fsync": "off", "full_page_writes": "off"},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
		err = pg.CheckDurable(t.Context(), pgtest.Pool(t, s.URL("postgres")))
		require.ErrorContains(t, err, "fsync = off")
		require.ErrorContains(t, err, "set fsync = on in postgresql.conf")
		require.ErrorContains(t, err, "full_page_writes = off")
	})
}
