package explore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
	"recourse.dev/coordinator/saga/scenario"
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/explore"
)

func TestRun_ProductionKeepsItsPromises(t *testing.T) {
	t.Parallel()
	r := explore.Run(t.Context(), explore.Options{
		Bounds: explore.Bounds{Repeats: 1},
		Each: func(d explore.Result) {
			require.Positive(t, d.Completed, "%s never completes", d.Definition)
			require.Positive(t, d.Compensated, "%s never goes back", d.Definition)
		},
	})
	if r.First != nil {
		require.FailNow(t, r.First.What, "%s\n%s", r.First.Definition, r.First.Scenario)
	}
	require.True(t, r.Complete)
	require.Len(t, explore.Names(), r.Definitions)
	require.Greater(t, r.States, 100_000)
	require.Greater(t, r.Rows, 60, "rows of the tables that were taken")
}

func TestRun_SaysThatItWasCutShort(t *testing.T) {
	t.Parallel()
	r := explore.Run(t.Context(), explore.Options{Only: "chain", Bounds: explore.DefaultBounds, MaxStates: 1000})
	require.False(t, r.Complete)
	require.Equal(t, 1000, r.States)
	require.Zero(t, r.Violations)
}

func TestRun_FindsDefects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		only   string
		bounds explore.Bounds
		what   string
		moves  int
		defect func(*explore.Code)
	}{
		{"no_tombstone", "chain", explore.Bounds{}, "a happened after its undo was acknowledged", 4, noTombstone},
		{
			"refusal_not_stored", "chain",
			explore.Bounds{Repeats: 1},
			"the saga has proof that a is gone, and it is there", 4, refusalForgotten,
		},
		{"done_again", "chain", explore.Bounds{Repeats: 1}, "a happened 2 times under one effect key", 3, doneAgain},
		{
			"everything_undone_at_once", "chain",
			explore.Bounds{},
			"a was undone while b, which comes after it, is there", 6, undoneAtOnce,
		},
		{"pivot_guessed", "outside", explore.Bounds{}, "the saga has proof that p is gone, and it is there", 7, pivotGuessed},
		{
			"not_sent_again", "chain",
			explore.Bounds{Crashes: 1},
			"no way from here to the end of the saga without a fault or a wish", 1, notSentAgain,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code := explore.Production()
			c.defect(&code)
			r := explore.Run(t.Context(), explore.Options{Only: c.only, Bounds: c.bounds, Code: code})
			require.Equal(t, 1, r.Violations)
			require.Equal(t, c.what, r.First.What, r.First.Scenario)
			require.Equal(t, c.moves, r.First.Moves, r.First.Scenario)
			path := filepath.Join(t.TempDir(), "found")
			require.NoError(t, os.WriteFile(path, []byte(r.First.Scenario), 0o600))
			playScenario(t, path, code.Decide)
		})
	}
}

// playScenario plays a found scenario as the tests of coordinator/saga do, with
// the code that has the defect: every answer stands in the file.
func playScenario(
	t *testing.T, path string, decide func(*saga.Definition, saga.Saga, saga.Event, time.Time) saga.Decision,
) {
	t.Helper()
	p := scenario.Player{Decide: decide}
	commands := 0
	datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
		t.Helper()
		commands++
		c := scenario.Command{Name: td.Cmd, Input: td.Input}
		for _, a := range td.CmdArgs {
			arg := scenario.Arg{Key: a.Key}
			if len(a.Vals) > 0 {
				arg.Value = a.Vals[0]
			}
			c.Args = append(c.Args, arg)
		}
		out, err := p.Play(c)
		require.NoError(t, err, td.Pos)
		return out
	})
	require.Greater(t, commands, 1)
}

func noTombstone(c *explore.Code) {
	c.Verdict = func(row *worker.Row, op worker.Operation) worker.Verdict {
		if v := worker.Decide(row, op); v != worker.StoreVoid {
			return v
		}
		return worker.SayNothing
	}
}

func refusalForgotten(c *explore.Code) {
	c.Next = func(row worker.Row, phase worker.Phase, kind worker.OutcomeKind) (worker.Row, error) {
		if kind == worker.KindRefused {
			return worker.Row{}, nil
		}
		return row.Next(phase, kind)
	}
}

func doneAgain(c *explore.Code) {
	c.Verdict = func(row *worker.Row, op worker.Operation) worker.Verdict {
		if row != nil && row.State == worker.StateDone && op == worker.OpDo {
			return worker.RunDo
		}
		return worker.Decide(row, op)
	}
}

// undoneAtOnce does not wait for the undo of a later stage.
func undoneAtOnce(c *explore.Code) {
	c.Decide = func(d *saga.Definition, s saga.Saga, ev saga.Event, now time.Time) saga.Decision {
		out := saga.Decide(d, s, ev, now)
		if s.State != saga.Running || out.Saga.State != saga.Compensating {
			return out
		}
		for i := range out.Saga.Steps {
			if st := &out.Saga.Steps[i]; st.State == saga.Done {
				st.State, st.Attempt, st.Due = saga.Undoing, 1, now.Add(time.Minute)
				out.Actions = append(out.Actions, saga.Action{
					Kind: saga.Send, Step: i, Op: saga.OpUndo, Generation: st.Generation, Attempt: 1,
				})
			}
		}
		return out
	}
}

// pivotGuessed takes a pivot that does not answer for one that is refused.
func pivotGuessed(c *explore.Code) {
	c.Decide = func(d *saga.Definition, s saga.Saga, ev saga.Event, now time.Time) saga.Decision {
		if ev.Kind == saga.TimerFired && d.Steps()[ev.Step].Kind == saga.Pivot {
			ev.Kind = saga.ReplyRefused
		}
		return saga.Decide(d, s, ev, now)
	}
}

// notSentAgain lets timers fire without sending anything.
func notSentAgain(c *explore.Code) {
	c.Decide = func(d *saga.Definition, s saga.Saga, ev saga.Event, now time.Time) saga.Decision {
		out := saga.Decide(d, s, ev, now)
		if ev.Kind == saga.TimerFired {
			out.Actions = nil
		}
		return out
	}
}
