package pg_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t, nil)
	pool, err := pg.Open(t.Context(), pg.Config{URL: address, AppName: "shop", MaxConns: 3})
	require.NoError(t, err)
	defer pool.Close()
	require.EqualValues(t, 3, pool.Config().MaxConns)
	for setting, want := range map[string]string{
		"application_name": "shop", "timezone": "UTC", "idle_in_transaction_session_timeout": "1min",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}

func TestOpen_refused(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(pgtest.URL(t, nil))
	require.NoError(t, err)
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	for _, tt := range []struct {
		name string
		url  string
		want string
	}{
		{"empty", "", "DATABASE_URL"},
		{"nonsense", "postgres://shop:secret@[::", "reading the database URL"},
		{"wrong login", with(func(u *url.URL) { u.User = url.UserPassword("shop", "secret") }), "as shop"},
		{"no such database", with(func(u *url.URL) { u.Path = "/missing" }), "connecting to database missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, err := pg.Open(t.Context(), pg.Config{URL: tt.url, AppName: "shop", Wait: time.Minute})
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "secret")
			require.Less(t, time.Since(begin), 30*time.Second, "waiting does not mend this")
		})
	}
}

func TestOpen_waits_for_the_server(t *testing.T) {
	t.Parallel()
	o := pgserver.Options{DataDir: pgtest.Dir(t)}
	s, err := pgserver.Start(t.Context(), o)
	require.NoError(t, err)
	address := s.URL("postgres") // the port is kept over a restart
	require.NoError(t, s.Stop(t.Context()))

	_, err = pg.Open(t.Context(), pg.Config{URL: address, AppName: "shop"})
	require.True(t, pg.IsTransient(err), "%v", err)

	opened := make(chan error, 1)
	go func() {
		pool, err := pg.Open(t.Context(), pg.Config{URL: address, AppName: "shop", Wait: time.Minute})
		if err == nil {
			pool.Close()
		}
		opened <- err
	}()
	s, err = pgserver.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	require.NoError(t, <-opened)
}

func dropDatabase(t *testing.T, admin, name string) {
	t.Helper()
	ctx := context.Background() // called in a cleanup, where t's own has ended
	conn, err := pgx.Connect(ctx, admin)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	require.NoError(t, err)
	require.NoError(t, conn.Close(ctx))
}
