package coordinator_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/saga"
)

func TestBudget_resends_follow_first_sends(t *testing.T) {
	t.Parallel()
	start := time.Now()
	b := coordinator.NewBudget(start)
	spend := func(at time.Duration) (n int) {
		for b.Take(start.Add(at)) {
			n++
		}
		return n
	}
	require.Equal(t, 200, b.Left(start))
	require.Equal(t, 200, spend(0), "what was saved up")
	require.Zero(t, b.Left(start))
	require.Equal(t, 5, b.Left(start.Add(time.Second/2)))
	require.Equal(t, 10, spend(time.Second), "a quiet system goes on asking")
	for range 1000 {
		b.Earn(saga.StepStatus{State: saga.Idle}, saga.StepStatus{State: saga.Issued, Attempt: 1, Due: start})
	}
	require.InDelta(t, 100, spend(time.Second), 1, "a tenth of the first sends")
	require.Equal(t, 200, spend(time.Hour), "more cannot be saved up")
}

func TestBudget_earns(t *testing.T) {
	t.Parallel()
	due := time.Now()
	at := func(s saga.StepState, attempt uint32) saga.StepStatus {
		st := saga.StepStatus{State: s, Attempt: attempt}
		switch s {
		case saga.Issued, saga.Backoff, saga.InDoubt, saga.Undoing, saga.UndoBackoff, saga.UndoInDoubt:
			st.Due = due
		default:
		}
		return st
	}
	for _, tt := range []struct {
		name          string
		before, after saga.StepStatus
		want          float64
	}{
		{"of a new saga", saga.StepStatus{}, at(saga.Issued, 1), 0.1},
		{"a first send", at(saga.Idle, 0), at(saga.Issued, 1), 0.1},
		{"a first undo", at(saga.Done, 1), at(saga.Undoing, 1), 0},
		{"an undo of a resent do", at(saga.Issued, 3), at(saga.Undoing, 1), 0.1},
		{"an answered first send", at(saga.Issued, 1), at(saga.Done, 1), 0},
		{"an answered resend", at(saga.Issued, 2), at(saga.Done, 2), 1},
		{"a resend that is in doubt", at(saga.Issued, 2), at(saga.InDoubt, 2), 1},
		{"an undo that was sent again and is done", at(saga.Undoing, 4), at(saga.Undone, 4), 1},
		{"a resend", at(saga.Issued, 1), at(saga.Issued, 2), 0},
		{"another resend", at(saga.Backoff, 2), at(saga.Issued, 3), 0},
		{"nothing", at(saga.Issued, 2), at(saga.Issued, 2), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.InDelta(t, tt.want, coordinator.Earns(tt.before, tt.after), 1e-9)
		})
	}
}

// Thousands of orders that nobody answers are asked about within the budget, and each of them again and again: nothing
// is forgotten. With answers there is no such bound.
func TestBudget_puts_off_and_forgets_nothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, func(c *coordinator.Config) { c.TimerRate = 10_000 })
	s.world.answer(mute("reserve_stock/do"))
	c, err := coordinator.New(t.Context(), s.config, testLog(t))
	require.NoError(t, err)
	const orders = 600
	ids := accept(t.Context(), t, c, "k", orders)
	c.Close()
	n := s.start(t)
	require.Eventually(t, func() bool { return metric(n, `resends_total{outcome="put_off"}`) > 0 }, waitFor, tick)
	sent := metric(n, `resends_total{outcome="sent"}`)
	require.Less(t, sent, float64(orders), "not all of them at once")
	s.world.answer(nil)
	for _, id := range ids[orders-20:] {
		n.awaitStatus(id, "completed")
	}
	require.Eventually(t, func() bool {
		return metric(n, `sagas_ended_total{state="completed"}`) >= orders
	}, 2*waitFor, tick)
}

// metric is what the coordinator counts under a name with labels; 0 if it does not, yet.
func metric(n *node, name string) float64 { return sample(n, "recourse_coordinator_"+name) }

// sample is the value of any metric of the coordinator's process.
func sample(n *node, name string) float64 {
	for line := range strings.Lines(string(n.call("GET", "/metrics", nil, nil).Body)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			require.NoError(n.t, err)
			return v
		}
	}
	return 0
}
