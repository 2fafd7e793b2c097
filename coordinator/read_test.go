package coordinator_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/saga"
	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

// manyOrders is how many orders the lists of these tests have: more than a page by status reads.
const manyOrders = 12_000

// Orders of one shop, a second apart; all have one SKU, one in 4,000 has another, and one in 2,000 another customer.
const manyOrdersSQL = `
WITH numbered AS (
    SELECT i, ('019a' || lpad(to_hex(i), 8, '0') || repeat('0', 20))::uuid AS id, now() - interval '1 day' AS at
    FROM generate_series(1, $1) AS i
), documents AS (
    INSERT INTO order_document (order_id, saga_id, shop, customer_id, reference, currency, total_minor, body, created_at)
    SELECT id, id, 'muglife', 'cus_' || i % 2000, i::text, 'EUR', 1, '', at
    FROM numbered
), skus AS (
    INSERT INTO order_sku (sku, order_id)
    SELECT 'SKU-ALL', id FROM numbered
    UNION ALL
    SELECT 'SKU-RARE', id FROM numbered WHERE i % 4000 = 0
)
INSERT INTO saga (id, order_id, definition, partition, state, status, revision, record, created_at, ended_at)
SELECT id, id, 1, 0, 4, 4, 6, '', at, at
FROM numbered`

// idOf is the id of the i-th of many orders.
func idOf(i int) uuid.UUID {
	text := strconv.FormatInt(int64(i), 16)
	return uuid.MustParse("019a" + "00000000"[len(text):] + text + "00000000000000000000")
}

// manyOrdersOf is a database with many orders, and one connection to it as a coordinator has it.
func manyOrdersOf(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), pg.Config{
		URL: pgtest.URL(t, migrations.FS("coordinator")), AppName: "test", MaxConns: 1,
	})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), manyOrdersSQL, manyOrders)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "VACUUM ANALYZE")
	require.NoError(t, err)
	return pool
}

// rowsRead is how many rows of the tables behind a list were ever read.
func rowsRead(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), "SELECT pg_stat_force_next_flush()", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(t.Context(), `
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))
FROM pg_stat_user_tables
WHERE relname IN ('order_document', 'order_sku', 'saga')`).Scan(&n))
	return n
}

// What a page reads does not depend on how many orders there are.
func TestList_reads_few_rows(t *testing.T) { //nolint:tparallel // parts share one connection, one after the other
	t.Parallel()
	pool := manyOrdersOf(t)
	const page = 50
	_, err := pool.Exec(t.Context(), "UPDATE saga_low_water SET id = $1", idOf(manyOrders-20))
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		filter coordinator.Filter
		behind int
		first  int
		found  int
	}{
		{"all", coordinator.Filter{}, 0, manyOrders, page},
		{"late page", coordinator.Filter{}, 5001, 5000, page},
		{"sku of all", coordinator.Filter{SKU: "SKU-ALL"}, 0, manyOrders, page},
		{"sku of all, late page", coordinator.Filter{SKU: "SKU-ALL"}, 5001, 5000, page},
		{"sku of few", coordinator.Filter{SKU: "SKU-RARE"}, 0, 12_000, 3},
		{"sku of few, late page", coordinator.Filter{SKU: "SKU-RARE"}, 8000, 4000, 1},
		{"sku of none", coordinator.Filter{SKU: "SKU-NONE"}, 0, 0, 0},
		{"shop of all", coordinator.Filter{Shop: "muglife"}, 0, manyOrders, page},
		{"shop of all, late page", coordinator.Filter{Shop: "muglife"}, 5001, 5000, page},
		{"shop of none", coordinator.Filter{Shop: "other"}, 0, 0, 0},
		{"customer", coordinator.Filter{CustomerID: "cus_7"}, 0, 10_007, 6},
		{"customer of none", coordinator.Filter{CustomerID: "cus_x"}, 0, 0, 0},
		{"reference", coordinator.Filter{Reference: "17"}, 0, 17, 1},
		{"reference of a shop", coordinator.Filter{Shop: "muglife", Reference: "17"}, 0, 17, 1},
		{"none is open any more", coordinator.Filter{Status: saga.StatusProcessing}, 0, 0, 0},
		{"attention", coordinator.Filter{Attention: "any"}, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			behind := uuid.Nil
			if c.behind > 0 {
				behind = idOf(c.behind)
			}
			before := rowsRead(t, pool)
			ids, next, err := coordinator.List(t.Context(), pool, c.filter, behind, page)
			require.NoError(t, err)
			require.LessOrEqual(t, rowsRead(t, pool)-before, 4*(page+1))
			require.Len(t, ids, c.found)
			require.Equal(t, c.found == page, next != uuid.Nil, "there is another page")
			if c.found > 0 {
				require.Equal(t, idOf(c.first), ids[0])
			}
			require.True(t, slices.IsSortedFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(b[:], a[:]) }))
		})
	}
}

// A page by status ends after so many orders, however few it has found, and the next one goes on there.
func TestList_by_a_rare_status_has_short_pages(t *testing.T) {
	t.Parallel()
	pool := manyOrdersOf(t)
	_, err := pool.Exec(t.Context(), `
UPDATE saga
SET state = 6, status = 7
WHERE id IN ($1, $2, $3)`, idOf(1), idOf(manyOrders-5001), idOf(manyOrders-1))
	require.NoError(t, err)
	closed := coordinator.Filter{Status: saga.StatusClosed}
	var pages [][]uuid.UUID
	for next := uuid.Nil; len(pages) == 0 || next != uuid.Nil; {
		var ids []uuid.UUID
		ids, next, err = coordinator.List(t.Context(), pool, closed, next, 50)
		require.NoError(t, err)
		pages = append(pages, ids)
	}
	require.Equal(t, [][]uuid.UUID{{idOf(manyOrders - 1)}, {idOf(manyOrders - 5001)}, {idOf(1)}}, pages)

	ids, next, err := coordinator.List(t.Context(), pool, closed, uuid.Nil, 1)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{idOf(manyOrders - 1)}, ids)
	require.NotEqual(t, uuid.Nil, next, "nobody has looked further")
}

// What is open lies above the mark, however many orders have ended below it.
func TestList_by_an_open_status_ends_at_the_mark(t *testing.T) {
	t.Parallel()
	pool := manyOrdersOf(t)
	_, err := pool.Exec(t.Context(), "UPDATE saga SET state = 3, status = 5, ended_at = NULL WHERE id = $1", idOf(manyOrders-100))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "UPDATE saga_low_water SET id = $1", idOf(manyOrders-100))
	require.NoError(t, err)
	for _, f := range []coordinator.Filter{
		{Status: saga.StatusCancelling}, {Status: saga.StatusCancelling, SKU: "SKU-ALL"},
	} {
		before := rowsRead(t, pool)
		ids, next, err := coordinator.List(t.Context(), pool, f, uuid.Nil, 50)
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{idOf(manyOrders - 100)}, ids)
		require.Equal(t, uuid.Nil, next, "there can be no other")
		require.Less(t, rowsRead(t, pool)-before, 1000)
	}
}
