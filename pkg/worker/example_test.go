package worker_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
)

// A whole participant: it puts orders on a list and takes them off again. Everything else is the SDK's.
func Example() {
	run := func(ctx context.Context, kafkaConfig kafka.Config, pool *pgxpool.Pool) error {
		w, err := worker.New(worker.Config{Participant: "list", Kafka: kafkaConfig}, pool, slog.Default(), nil)
		if err != nil {
			return err
		}
		registerList(w)
		return w.Run(ctx)
	}
	_ = run
}

func registerList(w *worker.Worker) {
	worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{
		Do: func(
			ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
		) ([]worker.Outcome, error) {
			keys := make([]string, len(batch))
			outcomes := make([]worker.Outcome, len(batch))
			for i, c := range batch {
				keys[i] = c.Key
				outcomes[i] = worker.Done(nil, map[string]string{"list_entry": c.Key})
			}
			_, err := tx.Exec(ctx, `INSERT INTO list (key) SELECT unnest($1::text[])`, keys)
			return outcomes, err
		},
		Undo: func(
			ctx context.Context, tx pgx.Tx,
			batch []*worker.Undo[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock],
		) ([]worker.Outcome, error) {
			keys := make([]string, len(batch))
			outcomes := make([]worker.Outcome, len(batch))
			for i, u := range batch {
				keys[i] = u.Key
				outcomes[i] = worker.Undone()
			}
			_, err := tx.Exec(ctx, `DELETE FROM list WHERE key = ANY ($1::text[])`, keys)
			return outcomes, err
		},
	})
}

func TestExample(t *testing.T) {
	t.Parallel()
	kit := workertest.New(t, mustDB(t, "CREATE TABLE list (key text PRIMARY KEY)"), registerList)

	do := &inventoryv1.ReserveStock{Meta: workertest.Meta("put_on_list")}
	reply := kit.Do(t, do)
	require.NotEmpty(t, reply.GetDone().GetHandles()["list_entry"])

	undo := &inventoryv1.ReleaseStock{Meta: workertest.UndoMeta(do.GetMeta())}
	require.NotNil(t, kit.Undo(t, undo).GetUndone())
	require.NotNil(t, kit.Do(t, workertest.Again(t, do)).GetFenced())
}
