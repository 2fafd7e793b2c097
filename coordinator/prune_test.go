package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
)

// month makes the partitions of a month, with a row in each.
func month(t *testing.T, pool *pgxpool.Pool, name, first, next string, published any) {
	t.Helper()
	for _, parent := range []string{"saga_history", "outbox"} {
		_, err := pool.Exec(t.Context(), fmt.Sprintf(`CREATE TABLE %s_%s PARTITION OF %s FOR VALUES FROM ('%sZ') TO ('%sZ')`,
			parent, name, parent, first, next))
		require.NoError(t, err)
	}
	_, err := pool.Exec(t.Context(), `
		INSERT INTO saga_history (saga_id, at, revision, body) VALUES (gen_random_uuid(), $1::date + interval '5 days', 1, '')`,
		first)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `
		INSERT INTO outbox (at, body, claimed_until, published_at) VALUES ($1::date + interval '5 days', '', now() + interval '1 day', $2)`,
		first, published)
	require.NoError(t, err)
}

// months lists the old partitions that are there.
func months(t *testing.T, pool *pgxpool.Pool, parent string) (names []string) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `
		SELECT coalesce(array_agg(right(relname, 6) ORDER BY relname), '{}')
		FROM pg_class WHERE relname ~ ('^' || $1 || '_20(19|20)..$')`, parent).Scan(&names)
	require.NoError(t, err)
	return names
}

func TestPrune_months_that_nobody_needs(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	month(t, pool, "201912", "2019-12-01", "2020-01-01", time.Now())
	month(t, pool, "202001", "2020-01-01", "2020-02-01", nil)
	month(t, pool, "202002", "2020-02-01", "2020-03-01", time.Now())
	all := []string{"201912", "202001", "202002"}

	require.NoError(t, c.Prune(t.Context()))
	require.Equal(t, all, months(t, pool, "saga_history"), "nobody has said yet which sagas have ended")
	require.Equal(t, []string{"202001"}, months(t, pool, "outbox"), "one has an event that was not published")

	// A saga that began in January is still open, seven years later: its months are needed.
	id := accept(t.Context(), t, c, "old", 1)[0]
	_, err := pool.Exec(t.Context(), `UPDATE saga SET id = '016f9e3c-0000-7000-8000-000000000001' WHERE id = $1`, id)
	require.NoError(t, err)
	require.NoError(t, c.RaiseMark(t.Context(), time.Now()))
	require.NoError(t, c.Prune(t.Context()))
	require.Equal(t, []string{"202001", "202002"}, months(t, pool, "saga_history"))

	_, err = pool.Exec(t.Context(), `UPDATE saga SET state = 5, status = 6, ended_at = now(), next_due = NULL`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `UPDATE outbox SET published_at = now() WHERE published_at IS NULL`)
	require.NoError(t, err)
	require.NoError(t, c.RaiseMark(t.Context(), time.Now()))
	require.NoError(t, c.Prune(t.Context()))
	require.Empty(t, months(t, pool, "saga_history"))
	require.Empty(t, months(t, pool, "outbox"))
	accept(t.Context(), t, c, "new", 3)
}

// Somebody who reads history for long does not make all orders wait behind the drop.
func TestPrune_does_not_wait_for_locks(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	month(t, pool, "202001", "2020-01-01", "2020-02-01", time.Now())
	require.NoError(t, c.RaiseMark(t.Context(), time.Now()))
	reading, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer reading.Rollback(t.Context())
	_, err = reading.Exec(t.Context(), `SELECT count(*) FROM saga_history`)
	require.NoError(t, err)
	require.ErrorContains(t, c.Prune(t.Context()), "lock timeout")
	require.Equal(t, []string{"202001"}, months(t, pool, "saga_history"))
	accept(t.Context(), t, c, "meanwhile", 1)
	require.NoError(t, reading.Rollback(t.Context()))
	require.NoError(t, c.Prune(t.Context()))
	require.Empty(t, months(t, pool, "saga_history"))
}

func TestPrune_never_what_is_young(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	ids := accept(t.Context(), t, c, "young", 2)
	_, err := pool.Exec(t.Context(), `UPDATE saga SET state = 5, status = 6, ended_at = now(), next_due = NULL`)
	require.NoError(t, err)
	require.NoError(t, c.RaiseMark(t.Context(), time.Now().Add(time.Hour)))
	require.NoError(t, c.Prune(t.Context()))
	var dropped []string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT drop_partitions('saga_history', 'infinity')`).Scan(&dropped))
	require.Empty(t, dropped, "whatever is asked for")
	_, err = pool.Exec(t.Context(), `SELECT drop_partitions('saga', now())`)
	require.ErrorContains(t, err, "has no months")
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM saga_history WHERE saga_id = ANY ($1)`, ids).Scan(&rows))
	require.Equal(t, 2, rows)
}

func TestPrune_keys_in_batches(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO request_key (scope, key, request_hash, order_id, answer, created_at)
		SELECT 'order', n::text, '', gen_random_uuid(), 0, now() - CASE WHEN n > 2500 THEN interval '44 days' ELSE interval '46 days' END
		FROM generate_series(1, 2510) AS n`)
	require.NoError(t, err)
	require.NoError(t, c.Prune(t.Context()))
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM request_key`).Scan(&left))
	require.Equal(t, 10, left)
}

func TestConfig_retentions_that_are_too_short(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	config := s.config
	hour := service.Days(time.Hour)
	config.Retention = coordinator.Retention{KeepHistory: 71 * hour, KeepOutbox: hour, KeepKeys: hour, KeepLetters: 1}
	_, err := coordinator.New(t.Context(), config, testLog(t))
	for _, setting := range []string{"KEEP_HISTORY=71h0m0s: want 3d", "KEEP_OUTBOX=1h", "KEEP_KEYS", "KEEP_DEAD_LETTERS"} {
		require.ErrorContains(t, err, setting)
	}
	config.Retention = coordinator.Retention{KeepHistory: 80 * hour}
	_, err = coordinator.New(t.Context(), config, testLog(t))
	require.ErrorContains(t, err, "KEEP_HISTORY is 80h0m0s, and topics keep records for 168h0m0s")
}
