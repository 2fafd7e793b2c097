package worker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Rows that another build has written in the other form are answered as those of this one, and taken back, and asked about.
func TestCompact_rows_are_answered_alike(t *testing.T) {
	t.Parallel()
	inventory := func(cfg *worker.Config) { cfg.Participant = "inventory" }
	shelf := workertest.New(t, mustDB(t, shelfDDL), registerShelf, inventory)
	for _, do := range []worker.Input{reserve(skuPlain, 1), reserve(skuNone, 1)} {
		first := shelf.Do(t, do)
		swapForms(t, shelf)
		requireSame(t, first, shelf.Do(t, workertest.Again(t, do)))
	}
	do := reserve(skuPlain, 1)
	shelf.Do(t, do)
	swapForms(t, shelf)
	undone := shelf.Undo(t, release(do))
	require.NotNil(t, undone.GetUndone())
	swapForms(t, shelf)
	requireSame(t, undone, shelf.Undo(t, workertest.Again(t, release(do))))
	never := release(reserve(skuPlain, 1))
	nothing := shelf.Undo(t, never)
	swapForms(t, shelf)
	requireSame(t, nothing, shelf.Undo(t, workertest.Again(t, never)))
	require.Equal(t, 1, holds(t, shelf.Pool))

	till, g := newTill(t)
	lost, voidLost := authorize(tokenLost), authorize(tokenVoidLost)
	require.NotNil(t, till.Do(t, lost).GetInDoubt())
	require.NotNil(t, till.Do(t, voidLost).GetDone())
	swapForms(t, till)
	require.NotNil(t, till.Undo(t, void(lost)).GetInDoubt())
	require.NotNil(t, till.Undo(t, void(voidLost)).GetInDoubt())
	swapForms(t, till)
	require.ElementsMatch(t, []string{"do done 1", "undo undone 2", "undo undone 2"}, summaries(till.Resolve(t)))
	require.Zero(t, g.blocked())
}

func requireSame(t *testing.T, first, again *sagav1.Reply) {
	t.Helper()
	require.EqualValues(t, first.GetAttempt()+1, again.GetAttempt())
	again.Attempt = first.GetAttempt()
	require.Equal(t, first.String(), again.String())
}

// swapForms rewrites all rows, whole ones as compact ones and the other way round.
func swapForms(t *testing.T, kit *workertest.Kit) {
	t.Helper()
	require.NoError(t, worker.SwapForms(t.Context(), kit.Worker, kit.Pool))
}
