package coordinator_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
)

// The login of a coordinator may read and write rows and nothing else, as compose.yaml gives it.
func TestRights_of_rows_are_enough(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	owner := pgtest.Pool(t, s.url)
	role := fmt.Sprintf("rows_%d", time.Now().UnixNano())
	quoted := pgx.Identifier{role}.Sanitize()
	exec := func(sql string) {
		_, err := owner.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	exec("CREATE ROLE " + quoted)
	exec("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + quoted)
	exec("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO " + quoted)
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		conn, err := pgx.Connect(ctx, s.url)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, "DROP OWNED BY "+quoted+"; DROP ROLE "+quoted)
		require.NoError(t, err)
		require.NoError(t, conn.Close(ctx))
	})
	address, err := url.Parse(s.url)
	require.NoError(t, err)
	query := address.Query()
	query.Set("role", role)
	address.RawQuery = query.Encode()
	s.config.DatabaseURL = service.Secret(address.String())

	pool := pgtest.Pool(t, address.String())
	_, err = pool.Exec(t.Context(), "CREATE TABLE mine (id integer)")
	require.ErrorContains(t, err, "permission denied", "the role has no rights of an owner")
	var made int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT make_partitions(7)").Scan(&made))
	require.Equal(t, 8, made, "four months more of each table")
	exec("CREATE TABLE outbox_202001 PARTITION OF outbox FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')")
	var dropped []string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT drop_partitions('outbox', now())").Scan(&dropped))
	require.Equal(t, []string{"outbox_202001"}, dropped)
	n := s.start(t)
	n.awaitStatus(n.submit("rights", newOrder()).ID, "completed")
}
