package pg_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

const selectLevel = `
	SELECT on_hand
	FROM stock_level
	WHERE sku = $1
	FOR UPDATE`

// An exported store function opens the transaction; what happens in it is in functions that take (ctx, tx, ...) and can
// be put together freely.
func ExampleInTxV() {
	onHand := func(ctx context.Context, pool *pgxpool.Pool, sku string) (int, error) {
		return pg.InTxV(ctx, pool, func(tx pgx.Tx) (int, error) {
			var n int
			if err := tx.QueryRow(ctx, selectLevel, sku).Scan(&n); err != nil {
				return 0, fmt.Errorf("reading the level of %s: %w", sku, err)
			}
			return n, nil
		})
	}
	_ = onHand
}
