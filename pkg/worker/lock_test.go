package worker_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
)

func TestWorker_LockFirst(t *testing.T) {
	t.Parallel()
	var locked [][]worker.Input
	var fall bool
	kit := workertest.New(t, mustDB(t, shelfDDL), func(w *worker.Worker) {
		registerShelf(w)
		w.LockFirst(func(_ context.Context, _ pgx.Tx, commands []worker.Input) error {
			if fall {
				panic("the lock fell off")
			}
			locked = append(locked, commands)
			return nil
		})
	})
	known := reserveShelf(skuPlain)
	require.NotNil(t, kit.Do(t, known).GetDone())
	require.Len(t, locked, 1)

	locked = nil
	fresh, undo := reserveShelf(skuPlain), &inventoryv1.ReleaseStock{Meta: workertest.UndoMeta(known.GetMeta())}
	kit.Send(t, workertest.Again(t, known), fresh, undo)
	require.Len(t, locked, 1, "once a poll")
	require.Len(t, locked[0], 2, "the repeat is answered from its row and locks nothing")
	require.IsType(t, fresh, locked[0][0])
	require.IsType(t, undo, locked[0][1])

	locked = nil
	kit.Send(t, workertest.Again(t, fresh))
	require.Empty(t, locked, "nothing to run, nothing to lock")

	fall = true
	require.Empty(t, kit.Send(t, reserveShelf(skuPlain)), "a command whose locks panic is parked")
}

func reserveShelf(sku string) *inventoryv1.ReserveStock {
	return &inventoryv1.ReserveStock{
		Meta:  workertest.Meta("step"),
		Lines: []*inventoryv1.StockLine{{LineId: "1", Sku: sku, Quantity: 1}},
	}
}
