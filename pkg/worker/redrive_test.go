package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/worker"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
)

// A handler panics, its command is parked; the handler is mended, the letter redriven, and the command takes effect once,
// on the way that every command takes.
func TestRedrive_after_the_mend(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	p := newParticipant(t, kit)
	var mended atomic.Bool
	var running *worker.Worker
	p.run(t, func(w *worker.Worker) {
		running = w
		worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{
			Do: func(
				ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
			) ([]worker.Outcome, error) {
				if !mended.Load() {
					panic("not mended yet")
				}
				return reserveOnShelf(ctx, tx, batch)
			},
			Undo: releaseFromShelf,
		})
	})
	do := reserve(skuPlain, 1)
	p.send(t, do)
	letters := func(c require.TestingT) []deadletter.Letter {
		list, _, err := deadletter.List(t.Context(), kit.Pool, uuid.Nil, 10)
		require.NoError(c, err)
		return list
	}
	var parked deadletter.Letter
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		list := letters(c)
		require.Len(c, list, 1)
		parked = list[0]
	}, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, deadletter.HandlerPanic, parked.Reason)

	mended.Store(true)
	_, err := running.Redrive(t.Context(), parked.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"do done 1"}, summaries(p.await(t, 1)))
	require.Equal(t, worker.StateDone, kit.State(t, do))
	require.Equal(t, 1, holds(t, kit.Pool))
	require.NotNil(t, letters(t)[0].RedrivenAt)
	_, err = running.Redrive(t.Context(), parked.ID)
	require.ErrorIs(t, err, deadletter.ErrAlreadyRedriven)
}

// What came between the parking and the redriving stands: a command that was undone meanwhile is fenced.
func TestRedrive_after_the_undo(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	do := reserve(skuPanic, 1)
	kit.Send(t, do)
	require.NotNil(t, kit.Undo(t, release(do)).GetUndone())
	list, _, err := deadletter.List(t.Context(), kit.Pool, uuid.Nil, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = kit.Worker.Redrive(t.Context(), list[0].ID)
	require.ErrorIs(t, err, deadletter.ErrNotSent, "a worker that does not run")
	require.Equal(t, []string{"do fenced 1"}, summaries(kit.SendRecords(t, list[0].Record())))
	require.Zero(t, holds(t, kit.Pool))
}
