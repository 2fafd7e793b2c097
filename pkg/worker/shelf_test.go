package worker_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// mustDB is a participant's database with its domain tables.
func mustDB(t *testing.T, ddl string) *pgxpool.Pool {
	t.Helper()
	return pgtest.DB(t, fstest.MapFS{
		"00001_participant.sql": {Data: []byte(worker.Schema)},
		"00002_prune.sql":       {Data: []byte(worker.PruneSchema)},
		"00003_dismiss.sql":     {Data: []byte(worker.DismissSchema)},
		"00004_domain.sql":      {Data: []byte("-- +goose Up\n" + ddl + ";\n")},
	})
}

// shelf is a domain in the participant's own database: it holds the first SKU of an order. Its SKUs are its faults.
const (
	shelfDDL = `CREATE TABLE hold (
    key      text   PRIMARY KEY,
    sku      text   NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0)
)`

	skuPlain   = "PLAIN"
	skuNone    = "NONE"    // refused
	skuLater   = "LATER"   // retry
	skuPanic   = "PANIC"   // panics
	skuShort   = "SHORT"   // makes the handler forget outcomes
	skuUnkind  = "UNKIND"  // an outcome that a do cannot have
	skuGarbled = "GARBLED" // a handle that is no text
	skuSwallow = "SWALLOW" // an error of the database that the handler ignores
	skuCut     = "CUT"     // loses the connection
	skuStuck   = "STUCK"   // its undo is refused
)

func registerShelf(w *worker.Worker) {
	worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{
		Do: reserveOnShelf, Undo: releaseFromShelf,
	})
}

func reserveOnShelf(
	ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
) ([]worker.Outcome, error) {
	var (
		outcomes   []worker.Outcome
		keys, skus []string
		quantities []int64
	)
	for _, c := range batch {
		line := c.Input.GetLines()[0]
		switch line.GetSku() {
		case skuNone:
			outcomes = append(outcomes, worker.Refused("out_of_stock", "there is none"))
			continue
		case skuLater:
			outcomes = append(outcomes, worker.Retry(0, "not now"))
			continue
		case skuPanic:
			panic("the shelf fell down")
		case skuShort:
			continue
		case skuUnkind:
			outcomes = append(outcomes, worker.Undone())
			continue
		case skuGarbled:
			outcomes = append(outcomes, worker.Done(nil, map[string]string{"shelf": "\xff"}))
			continue
		case skuSwallow:
			_, _ = tx.Exec(ctx, "SELECT 1/0")
		case skuCut:
			_, err := tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return nil, err
		}
		keys, skus, quantities = append(keys, c.Key), append(skus, line.GetSku()), append(quantities, line.GetQuantity())
		outcomes = append(outcomes, worker.Done(
			[]*sagav1.Effect{{Kind: "stock", Amount: line.GetQuantity(), Unit: line.GetSku(), Handle: c.Key}},
			map[string]string{"reservation_id": c.Key}))
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO hold (key, sku, quantity)
		SELECT key, sku, quantity
		FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u (key, sku, quantity)`, keys, skus, quantities)
	return outcomes, err
}

func releaseFromShelf(
	ctx context.Context, tx pgx.Tx, batch []*worker.Undo[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock],
) ([]worker.Outcome, error) {
	var (
		outcomes []worker.Outcome
		keys     []string
	)
	for _, u := range batch {
		if u.Did.GetLines()[0].GetSku() == skuStuck {
			outcomes = append(outcomes, worker.UndoRefused("nailed_down", "somebody nailed it to the shelf"))
			continue
		}
		keys = append(keys, u.DoReply.GetDone().GetHandles()["reservation_id"])
		outcomes = append(outcomes, worker.Undone())
	}
	_, err := tx.Exec(ctx, `DELETE FROM hold WHERE key = ANY ($1::text[])`, keys)
	return outcomes, err
}

func newShelf(t *testing.T) *workertest.Kit {
	t.Helper()
	return workertest.New(t, mustDB(t, shelfDDL), registerShelf)
}

func reserve(sku string, quantity int64) *inventoryv1.ReserveStock {
	return &inventoryv1.ReserveStock{
		Meta:  workertest.Meta("reserve_stock"),
		Lines: []*inventoryv1.StockLine{{LineId: "1", Sku: sku, Quantity: quantity}},
	}
}

func release(do *inventoryv1.ReserveStock) *inventoryv1.ReleaseStock {
	return &inventoryv1.ReleaseStock{Meta: workertest.UndoMeta(do.GetMeta())}
}

func mustCount(t *testing.T, pool *pgxpool.Pool, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

func holds(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	return mustCount(t, pool, `SELECT count(*) FROM hold`)
}
