package explore

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
	"recourse.dev/coordinator/saga/scenario"
)

// A state leaves out instants, words and the number of sends. Random histories
// are played once more with all of them, on a real clock, as scenarios are: at
// no point does what was left out make a difference.
func TestState_LeavesOutNothingThatDecides(t *testing.T) {
	t.Parallel()
	for i := range definitions {
		t.Run(definitions[i].name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				x := newExplorer(&definitions[i], &Options{Bounds: DefaultBounds, Full: true, Code: Production()})
				walk(t, x, rng)
			}
		})
	}
}

func walk(t *testing.T, x *explorer, rng *rand.Rand) {
	t.Helper()
	tell := teller{x: x}
	tell.command(scenario.Command{Name: "define", Input: x.text})
	s := x.first()
	for range 60 {
		list := x.moves(&s, nil)
		if len(list) == 0 {
			return
		}
		m := list[rng.IntN(len(list))]
		var before saga.Saga
		x.unpack(&s, &before)
		tell.move(&s, &before, m)
		x.decided = move{}
		require.NoError(t, x.play(&s, &before, m), tell.file.String())
		var full state
		x.pack(&full, tell.player.Saga())
		require.Equal(t, s.saga, full.saga, tell.file.String())
		require.Equal(t, s.steps, full.steps, tell.file.String())
	}
}

func TestMessage_RoundTrips(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, int(messages), 40, "the rest of the word is taken by key")
	for kind := saga.ReplyDone; kind <= saga.UndoDoubted; kind++ {
		for seq := range uint8(maxSeq + 1) {
			m := replyOf(kind, seq)
			require.False(t, m.command())
			require.Equal(t, kind, m.reply())
			require.Equal(t, seq, m.seq())
			require.Equal(t, kind >= saga.UndoDone, m.op() == saga.OpUndo)
		}
	}
	for _, op := range []saga.Op{saga.OpDo, saga.OpUndo} {
		require.True(t, commandOf(op).command())
		require.Equal(t, op, commandOf(op).op())
	}
}
