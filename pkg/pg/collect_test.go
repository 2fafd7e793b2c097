package pg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestCollect(t *testing.T) { //nolint:tparallel // parts share one connection, one after the other
	t.Parallel()
	pool, err := pg.Open(t.Context(), pg.Config{URL: pgtest.URL(t, nil), AppName: "shop", MaxConns: 1})
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), `CREATE TABLE thing (id bigint PRIMARY KEY, kind bigint NOT NULL)`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `INSERT INTO thing SELECT id, id % 1000 FROM generate_series(1, 5000) AS id`)
	require.NoError(t, err)
	for _, sql := range []string{`CREATE INDEX thing_kind ON thing (kind)`, `ANALYZE thing`} {
		_, err = pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	const list = `
SELECT id
FROM thing
WHERE (@kind::bigint IS NULL OR kind = @kind)
    AND (@before::bigint IS NULL OR id < @before)
ORDER BY id DESC
LIMIT 2`

	t.Run("uses_the_index_of_a_condition_that_may_be_absent", func(t *testing.T) {
		for range 3 {
			ids, err := pg.Collect(t.Context(), pool, pgx.RowTo[int64], list, pgx.StrictNamedArgs{"kind": 7, "before": nil})
			require.NoError(t, err)
			require.Equal(t, []int64{4007, 3007}, ids)
		}
		_, err := pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`)
		require.NoError(t, err)
		var scans int
		err = pool.QueryRow(t.Context(),
			`SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'thing_kind'`).Scan(&scans)
		require.NoError(t, err)
		require.Equal(t, 3, scans)
	})
	t.Run("leaves_the_connection_as_it_was", func(t *testing.T) {
		for setting, want := range map[string]string{
			"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_hashjoin": "off",
			"enable_mergejoin": "off",
		} {
			var got string
			require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
			require.Equal(t, want, got, setting)
		}
	})
	t.Run("in_a_transaction", func(t *testing.T) {
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			ids, err := pg.Collect(t.Context(), tx, pgx.RowTo[int64], list, pgx.StrictNamedArgs{"kind": nil, "before": 3})
			require.Equal(t, []int64{2, 1}, ids)
			return err
		}))
	})
	t.Run("says_what_went_wrong", func(t *testing.T) {
		_, err := pg.Collect(t.Context(), pool, pgx.RowTo[int64], `SELECT 1 / @n::bigint`, pgx.StrictNamedArgs{"n": 0})
		require.Equal(t, "22012", pg.Code(err))
		_, err = pg.Collect(t.Context(), pool, pgx.RowTo[int64], `SELECT 'x'`)
		require.Error(t, err)
	})
}
