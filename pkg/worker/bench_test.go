package worker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// BenchmarkProcess is what the SDK itself takes: a poll of new commands for a handler that has nothing to do.
func BenchmarkProcess(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			pool := pgtest.DB(b, fstest.MapFS{
				"00001_participant.sql": {Data: []byte(worker.Schema)},
				"00002_prune.sql":       {Data: []byte(worker.PruneSchema)},
				"00003_dismiss.sql":     {Data: []byte(worker.DismissSchema)},
			})
			kit := workertest.New(b, pool, func(w *worker.Worker) {
				worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{Do: reserveAll})
			})
			commands := make([]worker.Input, size)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range commands {
					commands[i] = reserve(skuPlain, 1)
				}
				records := kit.Records(b, commands...)
				b.StartTimer()
				replies, err := kit.Worker.Process(b.Context(), records)
				require.NoError(b, err)
				require.Len(b, replies, size)
			}
		})
	}
}

func reserveAll(
	_ context.Context, _ pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	for i, c := range batch {
		line := c.Input.GetLines()[0]
		outcomes[i] = worker.Done([]*sagav1.Effect{{Kind: "stock", Amount: line.GetQuantity(), Unit: line.GetSku()}}, nil)
	}
	return outcomes, nil
}
