package sim

import (
	"strings"

	"recourse.dev/coordinator/saga"
)

// sometimes is a path that a run of any size must have taken.
type sometimes uint8

const (
	recordLost sometimes = iota
	recordDoubled
	coordinatorDiedBeforeCommit
	coordinatorDiedAfterCommit
	coordinatorDiedBeforeOffsets
	workerDiedBeforeCommit
	workerDiedAfterCommit
	workerDiedBeforeOffsets
	workerDiedAfterCall
	tombstone
	doFenced
	replyRepeated
	refusalRepeated
	undoWhileInDoubt
	undoneByResolver
	unknownOutcome
	doubtEndedDone
	doubtEndedRefused
	undoDoubtEnded
	answerLostAfterEffect
	providerActedLate
	probed
	lateEvidence
	staleTimer
	resent
	gaveUp
	optionalSkipped
	newEffectKey
	undoWasRefused
	attentionRaised
	attentionCleared
	cancelAgreed
	cancelAtPivotTooLate
	cancelAtPivotRefused
	cancelTooLate
	deadlineWentBack
	deadlineAtPivot
	operatorWentBack
	paused
	closed
	settledByHand
	endedCompleted
	endedCompensated
	sometimesCount
)

var sometimesNames = [sometimesCount]string{
	"record_lost", "record_doubled", "coordinator_died_before_commit", "coordinator_died_after_commit",
	"coordinator_died_before_offsets", "worker_died_before_commit", "worker_died_after_commit",
	"worker_died_before_offsets", "worker_died_after_call", "tombstone", "do_fenced", "reply_repeated",
	"refusal_repeated", "undo_while_in_doubt", "undone_by_resolver", "unknown_outcome", "doubt_ended_done",
	"doubt_ended_refused", "undo_doubt_ended", "answer_lost_after_effect", "provider_acted_late", "probed",
	"late_evidence", "stale_timer", "resent", "gave_up", "optional_skipped", "new_effect_key", "undo_was_refused",
	"attention_raised", "attention_cleared", "cancel_agreed", "cancel_at_pivot_too_late", "cancel_at_pivot_refused",
	"cancel_too_late", "deadline_went_back", "deadline_at_pivot", "operator_went_back", "paused", "closed",
	"settled_by_hand", "ended_completed", "ended_compensated",
}

// counters counts the paths of many histories.
type counters [sometimesCount]int64

func (c *counters) hit(s sometimes) { c[s]++ }

func (c *counters) hitIf(cond bool, s sometimes) {
	if cond {
		c[s]++
	}
}

// observe counts what a decision was about.
func (w *world) observe(before *saga.Saga, out *saga.Decision, ev saga.Event) {
	c := w.count
	for _, tr := range out.Trace {
		switch {
		case tr.Do == "keep as evidence":
			c.hit(lateEvidence)
		case tr.Do == "ignore, it is no longer current":
			c.hit(staleTimer)
		case tr.Do == "send again" && tr.Event == saga.TimerFired:
			c.hit(resent)
		case tr.Do == "give up, go back":
			c.hit(gaveUp)
		case tr.Do == "give up, do without it":
			c.hit(optionalSkipped)
		case tr.Do == "try again under a new effect key, tell an operator":
			c.hit(newEffectKey)
		case tr.Event == saga.UndoRefused:
			c.hit(undoWasRefused)
		case tr.Do == "remember the deadline":
			c.hit(deadlineAtPivot)
		case strings.HasPrefix(tr.Do, "settle by hand"):
			c.hit(settledByHand)
		}
	}
	for _, a := range out.Actions {
		c.hitIf(a.Kind == saga.Announce && a.Fact == saga.FactAttentionRaised, attentionRaised)
		c.hitIf(a.Kind == saga.Announce && a.Fact == saga.FactAttentionCleared, attentionCleared)
		c.hitIf(a.Kind == saga.Answer && ev.Kind == saga.CancelRequested && a.Verdict == saga.Agreed, cancelAgreed)
		c.hitIf(a.Kind == saga.Answer && ev.Kind == saga.CancelRequested && a.Verdict == saga.TooLate, cancelTooLate)
	}
	after := &out.Saga
	c.hitIf(after.Paused && !before.Paused, paused)
	if after.State == before.State {
		return
	}
	wished := before.Wish == saga.CauseCancelled
	c.hitIf(after.State == saga.Completing && wished, cancelAtPivotTooLate)
	c.hitIf(after.State == saga.Compensating && wished && before.State == saga.Running, cancelAtPivotRefused)
	c.hitIf(after.State == saga.Compensating && after.Cause == saga.CauseDeadline, deadlineWentBack)
	c.hitIf(after.State == saga.Compensating && after.Cause == saga.CauseOperator, operatorWentBack)
	c.hitIf(after.State == saga.Closed, closed)
	c.hitIf(after.State == saga.Completed, endedCompleted)
	c.hitIf(after.State == saga.Compensated, endedCompensated)
}
