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
		"jit": "off",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}

func TestOpen_leaves_what_the_url_sets(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.URL(t, nil))
	require.NoError(t, err)
	query := address.Query()
	query.Set("plan_cache_mode", "auto")
	address.RawQuery = query.Encode()
	pool, err := pg.Open(t.Context(), pg.Config{URL: address.String(), AppName: "shop"})
	require.NoError(t, err)
	defer pool.Close()
	for setting, want := range map[string]string{"plan_cache_mode": "auto", "enable_hashjoin": "off"} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}

// A plan that is made while a table is empty must be right when it is not: the server keeps it.
func TestOpen_plans_by_key(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pg.Config{URL: pgtest.URL(t, nil), AppName: "shop", MaxConns: 1})
	require.NoError(t, err)
	defer pool.Close()
	const update = `UPDATE thing AS t SET n = u.n FROM unnest($1::bigint[], $2::bigint[]) AS u (id, n) WHERE t.id = u.id`
	_, err = pool.Exec(t.Context(), `CREATE TABLE thing (id bigint PRIMARY KEY, n bigint)`)
	require.NoError(t, err)
	for range 10 { // the plan is made, on an empty table
		_, err = pool.Exec(t.Context(), update, []int64{1}, []int64{2})
		require.NoError(t, err)
	}
	_, err = pool.Exec(t.Context(), `INSERT INTO thing SELECT id, 0 FROM generate_series(1, 1000) AS id`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), update, []int64{7}, []int64{2})
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`)
	require.NoError(t, err)
	var scans int
	err = pool.QueryRow(t.Context(), `SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'thing'`).Scan(&scans)
	require.NoError(t, err)
	require.Equal(t, 1, scans, "the one is the building of the index")
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
