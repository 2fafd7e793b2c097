package saga

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// situations is every combination that a guard of the step table may look at.
func situations(t *testing.T) []turn {
	t.Helper()
	specs := []Step{
		{Name: "c", Kind: Compensatable, Undo: "u"},
		{Name: "p", Kind: Pivot},
		{Name: "r", Kind: Retriable},
		{Name: "o", Kind: Retriable, Optional: true},
	}
	var out []turn
	for _, spec := range specs {
		spec.Participant, spec.Do, spec.Retry = "x", "d", Retry{First: time.Second, Max: time.Second, GiveUp: 2}
		d := MustDefine("test", 1, time.Minute, Stage{spec})
		for _, attempt := range []uint32{0, 1, 2, 3} {
			for _, seq := range []uint32{0, 1, 2} {
				for _, state := range States {
					s := New(d, uuid.Nil, uuid.Nil)
					s.State = state
					s.Steps[0].Attempt, s.Steps[0].Seq = attempt, 1
					out = append(out, turn{d: d, s: &s, ev: Event{Seq: seq}})
				}
			}
		}
	}
	return out
}

func TestStepTable_AnswersEveryPairExactlyOnce(t *testing.T) {
	t.Parallel()
	for _, state := range StepStates {
		for on := ReplyDone; on <= StepUndo; on++ {
			for _, c := range situations(t) {
				n := 0
				for _, row := range stepRows[state][on] {
					if row.when.holds(&c) {
						n++
					}
				}
				require.Equal(t, 1, n, "%s in %s for a %s step, attempt %d, seq %d",
					on, state, c.spec().Kind, c.step().Attempt, c.ev.Seq)
			}
		}
	}
}

func TestSagaTable_AnswersEveryPairExactlyOnce(t *testing.T) {
	t.Parallel()
	d := MustDefine("test", 1, time.Minute, Stage{{
		Name: "p", Participant: "x", Kind: Pivot, Do: "d",
		Retry: Retry{First: time.Second, Max: time.Second, GiveUp: 2},
	}})
	now := time.Unix(1000, 0)
	kinds := []EventKind{
		CancelRequested, DeadlinePassed, OperatorUndo, OperatorPause, OperatorResume, OperatorClose,
		StepWasRefused, StepGivenUp, PointOfNoReturn, AllDone, AllUndone, EffectReturned,
	}
	for _, state := range States {
		for _, on := range kinds {
			for _, pivot := range StepStates {
				for _, deadline := range []time.Time{{}, now, now.Add(time.Hour)} {
					s := New(d, uuid.Nil, uuid.Nil)
					s.State, s.Steps[0].State, s.Deadline = state, pivot, deadline
					c := turn{d: d, s: &s, now: now}
					n := 0
					for _, row := range sagaRows[state][on] {
						if row.when.holds(&c) {
							n++
						}
					}
					require.Equal(t, 1, n, "%s in %s, pivot %s", on, state, pivot)
				}
			}
		}
	}
}

func TestStepTable_EveryStateIsReachedAndCanEnd(t *testing.T) {
	t.Parallel()
	edges := map[StepState][]StepState{}
	for _, row := range stepTable {
		for _, from := range row.in {
			if row.to != same {
				edges[from] = append(edges[from], row.to)
			}
		}
	}
	require.ElementsMatch(t, StepStates, reach(edges, Idle), "states that Idle leads to")
	for _, s := range StepStates {
		ends := false
		for _, r := range reach(edges, s) {
			ends = ends || !r.waiting() && r != Idle
		}
		require.True(t, ends, "%s leads to no end", s)
	}
}

func TestSagaTable_EveryStateIsReachedAndCanEnd(t *testing.T) {
	t.Parallel()
	edges := map[State][]State{}
	for _, row := range sagaTable {
		for _, from := range row.in {
			if row.to != stay {
				edges[from] = append(edges[from], row.to)
			}
		}
	}
	require.ElementsMatch(t, States, reach(edges, Running))
	for _, s := range States {
		ends := false
		for _, r := range reach(edges, s) {
			ends = ends || r.Ended()
		}
		require.True(t, ends, "%s leads to no end", s)
	}
}

func TestStepTable_EveryWaitingStateHasATimerThatSends(t *testing.T) {
	t.Parallel()
	for _, s := range StepStates {
		acts := false
		for _, row := range stepRows[s][TimerFired] {
			acts = acts || row.do.name != ignore.name
		}
		require.Equal(t, s.waiting(), acts, "timer of %s", s)
	}
}

func reach[S comparable](edges map[S][]S, from S) []S {
	seen := map[S]bool{from: true}
	out := []S{from}
	for i := 0; i < len(out); i++ {
		for _, to := range edges[out[i]] {
			if !seen[to] {
				seen[to] = true
				out = append(out, to)
			}
		}
	}
	return out
}
