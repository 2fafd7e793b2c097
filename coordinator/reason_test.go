package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/saga"
)

func TestReason(t *testing.T) {
	t.Parallel()
	retry := saga.Retry{First: time.Second, Max: time.Second, GiveUp: 3}
	step := func(name string, kind saga.Kind) saga.Step {
		one := saga.Step{Name: name, Participant: name + "er", Kind: kind, Do: "do", Retry: retry}
		if kind == saga.Compensatable {
			one.Undo = "undo"
		}
		return one
	}
	d, err := saga.Define("order.reasons", 1, time.Hour,
		saga.Stage{step("pack", saga.Compensatable), step("weigh", saga.Compensatable)},
		saga.Stage{step("send", saga.Retriable)})
	require.NoError(t, err)
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	waits := func(s saga.StepState, attempt uint32, due int) saga.StepStatus {
		return saga.StepStatus{State: s, Attempt: attempt, IssuedAt: now, Due: at(due)}
	}
	idle := saga.StepStatus{State: saga.Idle}
	for _, tt := range []struct {
		name     string
		deadline time.Time
		steps    []saga.StepStatus
		want     coordinator.Reason
	}{
		{"nothing", time.Time{}, []saga.StepStatus{idle, idle, idle}, coordinator.Reason{}},
		{"the deadline alone", at(5), []saga.StepStatus{idle, idle, idle}, coordinator.Reason{}},
		{
			"a command",
			time.Time{},
			[]saga.StepStatus{waits(saga.Issued, 1, 5), idle, idle},
			coordinator.Reason{Participant: "packer", Holdable: true, Resend: true},
		},
		{
			"a command, and the deadline", at(60),
			[]saga.StepStatus{waits(saga.Issued, 1, 5), idle, idle},
			coordinator.Reason{Participant: "packer", Holdable: true, Resend: true, Other: at(60)},
		},
		{
			"the first of two", at(60),
			[]saga.StepStatus{waits(saga.Issued, 1, 7), waits(saga.Issued, 2, 5), idle},
			coordinator.Reason{Participant: "weigher", Holdable: true, Resend: true, Other: at(7)},
		},
		{
			"the other first of two", at(60),
			[]saga.StepStatus{waits(saga.Issued, 1, 5), waits(saga.Issued, 2, 7), idle},
			coordinator.Reason{Participant: "packer", Holdable: true, Resend: true, Other: at(7)},
		},
		{
			"a command that is given up",
			time.Time{},
			[]saga.StepStatus{waits(saga.Issued, 3, 5), idle, idle},
			coordinator.Reason{Participant: "packer", Holdable: true},
		},
		{
			"an answer that was put off by the participant",
			time.Time{},
			[]saga.StepStatus{waits(saga.Backoff, 1, 5), idle, idle},
			coordinator.Reason{Participant: "packer", Resend: true},
		},
		{
			"an undo, however often",
			time.Time{},
			[]saga.StepStatus{waits(saga.Undoing, 9, 5), idle, idle},
			coordinator.Reason{Participant: "packer", Holdable: true, Resend: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := saga.New(d, uuid.New(), uuid.New())
			s.Deadline, s.Steps = tt.deadline, tt.steps
			require.Equal(t, tt.want, coordinator.ReasonOf(d, &s))
			s.Paused = true
			require.Empty(t, coordinator.ReasonOf(d, &s).Participant)
		})
	}
}

// Orders that wait for a participant which is away are put off without a look at them, also when scans find them again,
// and when nothing is known of them but what a scan has found they are looked at once.
func TestWaiting_orders_are_not_read_again_and_again(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, func(c *coordinator.Config) {
		c.ScanInterval, c.AnswerTimeout, c.OutsideTimeout = 300*time.Millisecond, 1500*time.Millisecond, 1500*time.Millisecond
	})
	s.world.hold("shipping")
	n := s.start(t)
	const orders = 30
	var ids []uuid.UUID
	for i := range orders {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	require.Eventually(t, func() bool { return metric(n, `participant_lag{participant="shipping"}`) == orders }, waitFor, tick)
	looks := func(n *node) float64 { return metric(n, `events_total{door="timer",outcome="applied"}`) }
	heldBack := func(n *node, times float64) func() bool {
		return func() bool { return metric(n, `resends_total{outcome="held_back"}`) >= times*orders }
	}
	before := looks(n) // of the steps before
	require.Eventually(t, heldBack(n, 3), 2*waitFor, tick)
	require.LessOrEqual(t, looks(n)-before, 3.0)

	n.stop()
	n = s.start(t)
	require.Eventually(t, heldBack(n, 4), 2*waitFor, tick)
	require.LessOrEqual(t, looks(n), orders+3.0)

	s.world.release("shipping")
	for _, id := range ids {
		n.awaitStatus(id, "completed")
	}
}

// That a command is queued says nothing about the deadline.
func TestWaiting_ends_at_the_deadline(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, waitsASecond)
	s.world.hold("shipping")
	n := s.start(t)
	id := n.submit("k", newOrder(map[string]any{"deadline_seconds": 3})).ID
	require.Eventually(t, func() bool { return metric(n, `resends_total{outcome="held_back"}`) > 0 }, waitFor, tick)
	n.awaitStatus(id, "cancelling")
	s.world.release("shipping")
	n.awaitStatus(id, "cancelled")
}

// Nor is it believed for ever.
func TestWaiting_ends_with_the_belief(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, waitsASecond, func(c *coordinator.Config) { c.HoldBack = 3 * time.Second })
	s.world.hold("shipping")
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	require.Eventually(t, func() bool { return metric(n, `resends_total{outcome="held_back"}`) > 0 }, waitFor, tick)
	require.Zero(t, metric(n, `resends_total{outcome="sent"}`))
	require.Eventually(t, func() bool { return metric(n, `resends_total{outcome="sent"}`) > 0 }, waitFor, tick)
	s.world.release("shipping")
	n.awaitStatus(id, "completed")
}

// waitsASecond for an answer, long enough for a look at the queues. Scans do not help.
func waitsASecond(c *coordinator.Config) {
	c.ScanInterval, c.AnswerTimeout, c.OutsideTimeout = time.Hour, time.Second, time.Second
}
