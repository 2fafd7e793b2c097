package pg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, nil)
	_, err := pool.Exec(t.Context(), "CREATE TABLE thing (id int)")
	require.NoError(t, err)

	counter := &pg.Counter{}
	ctx := pg.WithCounter(t.Context(), counter)
	for range 2 { // the second time the statement is prepared already, and nothing must differ
		counter.Reset()
		require.NoError(t, pg.InTx(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO thing SELECT unnest($1::int[])", []int{1, 2, 3}); err != nil {
				return err
			}
			batch := &pgx.Batch{}
			batch.Queue("UPDATE thing SET id = id + 1")
			batch.Queue("DELETE FROM thing WHERE id = $1", 2)
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"thing"}, []string{"id"}, pgx.CopyFromRows([][]any{{7}, {8}}))
			return err
		}))
		require.Equal(t, []string{
			"INSERT INTO thing SELECT unnest($1::int[])",
			"UPDATE thing SET id = id + 1",
			"DELETE FROM thing WHERE id = $1",
			`COPY "thing"`,
		}, counter.SQL())
		require.Equal(t, 4, counter.Statements())
		require.Equal(t, 5, counter.RoundTrips(), "begin, insert, batch, copy, commit")
	}

	_, err = pool.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err)
	require.Equal(t, 4, counter.Statements(), "without the counter in the context nothing is counted")
}
