package worker_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/worker"
)

var operations = []worker.Operation{worker.OpDo, worker.OpUndo}

func TestDecide_every_pair_is_answered_once(t *testing.T) {
	t.Parallel()
	for _, state := range worker.States() {
		for _, op := range operations {
			require.Equal(t, 1, worker.Answers(state, op), "%s on %s", op, state)
		}
	}
	require.Equal(t, len(worker.States())*len(operations), worker.VerdictRows(), "no row for a state that is none")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		state   worker.State
		op      worker.Operation
		verdict worker.Verdict
	}{
		{worker.StateAbsent, worker.OpDo, worker.RunDo},
		{worker.StateAbsent, worker.OpUndo, worker.StoreVoid},
		{worker.StateInDoubt, worker.OpDo, worker.SayInDoubt},
		{worker.StateInDoubt, worker.OpUndo, worker.RememberUndo},
		{worker.StateDone, worker.OpDo, worker.RepeatReply},
		{worker.StateDone, worker.OpUndo, worker.RunUndo},
		{worker.StateRefused, worker.OpDo, worker.RepeatReply},
		{worker.StateRefused, worker.OpUndo, worker.SayNothing},
		{worker.StateVoid, worker.OpDo, worker.SayFenced},
		{worker.StateVoid, worker.OpUndo, worker.RepeatReply},
		{worker.StateUndoInDoubt, worker.OpDo, worker.SayFenced},
		{worker.StateUndoInDoubt, worker.OpUndo, worker.SayInDoubt},
		{worker.StateUndone, worker.OpDo, worker.SayFenced},
		{worker.StateUndone, worker.OpUndo, worker.RepeatReply},
	} {
		require.Equal(t, tc.verdict, worker.Decide(&worker.Row{State: tc.state}, tc.op), "%s on %s", tc.op, tc.state)
	}
	require.Equal(t, worker.RunDo, worker.Decide(nil, worker.OpDo), "no row is an absent row")
	require.Equal(t, worker.StoreVoid, worker.Decide(nil, worker.OpUndo))
}

// After an undo was answered with undone, whatever it met, no sequence of commands runs a do again.
func TestDecide_undo_is_a_fence(t *testing.T) {
	t.Parallel()
	for _, state := range []worker.State{worker.StateVoid, worker.StateRefused, worker.StateUndone} {
		for _, op := range operations {
			verdict := worker.Decide(&worker.Row{State: state}, op)
			require.NotEqual(t, worker.RunDo, verdict, "%s on %s", op, state)
			require.NotEqual(t, worker.RunUndo, verdict, "%s on %s", op, state)
		}
	}
}

func TestNext_every_outcome_leads_to_one_state(t *testing.T) {
	t.Parallel()
	phases := []worker.Phase{worker.Doing, worker.SettlingDo, worker.Undoing, worker.SettlingUndo}
	kinds := []worker.OutcomeKind{
		worker.KindDone, worker.KindRefused, worker.KindRetry, worker.KindCall, worker.KindInDoubt, worker.KindUndone,
		worker.KindUndoRefused,
	}
	for _, phase := range phases {
		for _, kind := range kinds {
			require.LessOrEqual(t, worker.Steps(phase, kind), 1, "%s %s", phase, kind)
			next, err := worker.Row{}.Next(phase, kind)
			require.Equal(t, worker.Steps(phase, kind) == 0, err != nil, "%s %s", phase, kind)
			if err == nil {
				fact := kind == worker.KindDone || kind == worker.KindRefused || kind == worker.KindUndone
				require.Equal(t, fact, next.EffectSeq == 1, "%s %s has a number of its own", phase, kind)
			}
		}
		_, err := worker.Row{}.Next(phase, "")
		require.ErrorContains(t, err, "not allowed")
	}
	for _, state := range worker.States() {
		if state != worker.StateVoid { // an undo makes it, no outcome
			require.True(t, worker.Reached()[state], "%s is reached", state)
		}
	}
}

func TestNext_facts_raise_the_sequence(t *testing.T) {
	t.Parallel()
	row := worker.Row{}
	for _, tc := range []struct {
		phase worker.Phase
		kind  worker.OutcomeKind
		want  worker.Row
	}{
		{worker.Doing, worker.KindCall, worker.Row{State: worker.StateInDoubt}},
		{worker.SettlingDo, worker.KindInDoubt, worker.Row{State: worker.StateInDoubt}},
		{worker.SettlingDo, worker.KindDone, worker.Row{State: worker.StateDone, EffectSeq: 1}},
		{worker.Undoing, worker.KindUndoRefused, worker.Row{State: worker.StateDone, EffectSeq: 1}},
		{worker.Undoing, worker.KindCall, worker.Row{State: worker.StateUndoInDoubt, EffectSeq: 1}},
		{worker.SettlingUndo, worker.KindUndone, worker.Row{State: worker.StateUndone, EffectSeq: 2}},
	} {
		var err error
		row, err = row.Next(tc.phase, tc.kind)
		require.NoError(t, err)
		require.Equal(t, tc.want, row, "after %s while %s", tc.kind, tc.phase)
	}
}

func TestNext_remembered_undo_lasts_while_in_doubt(t *testing.T) {
	t.Parallel()
	row := worker.Row{State: worker.StateInDoubt, UndoWanted: true}
	still, err := row.Next(worker.SettlingDo, worker.KindInDoubt)
	require.NoError(t, err)
	require.True(t, still.UndoWanted)
	done, err := row.Next(worker.SettlingDo, worker.KindDone)
	require.NoError(t, err)
	require.False(t, done.UndoWanted)
}

func TestState_column_check_lists_the_states(t *testing.T) {
	t.Parallel()
	listed := regexp.MustCompile(`state +smallint +NOT NULL CHECK \(state IN \(([0-9, ]+)\)\)`).
		FindStringSubmatch(worker.Schema)
	require.NotNil(t, listed)
	var want, names []string
	for _, state := range worker.States() {
		if state != worker.StateAbsent {
			want = append(want, fmt.Sprint(int16(state)))
			names = append(names, fmt.Sprintf("%d %s", int16(state), state))
		}
	}
	require.Equal(t, strings.Join(want, ", "), listed[1])
	require.Contains(t, worker.Schema, "-- "+strings.Join(names, ", ")+"\n")
}
