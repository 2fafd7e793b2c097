package saga

// The behaviour of the engine: one table for a step, one for the saga. A row is
// taken when the state and the event fit and its guard holds; exactly one row
// fits every combination, which a test proves. Rows that say `ignore` or `keep`
// are there so that silence is never an accident: `ignore` is a harmless
// repeat, `keep` is a late fact that goes into the history as evidence.

type stepRow struct {
	in   []StepState
	on   EventKind
	when stepGuard
	to   StepState // same: the state stays
	do   stepAction
}

type sagaRow struct {
	in   []State
	on   EventKind
	when sagaGuard
	to   State // stay: the state stays
	do   sagaAction
}

const (
	same StepState = 0
	stay State     = 0
)

var (
	open    = []StepState{Issued, Backoff, InDoubt}
	undoing = []StepState{Undoing, UndoBackoff, UndoInDoubt}
)

var stepTable = []stepRow{
	// in             on               when          go to        and
	{of(Idle), StepIssue, always, Issued, sendDo},
	{of(Idle), StepUndo, always, Skipped, nothing},
	{of(Idle), ReplyDone, always, Done, holdUnasked},
	{of(Idle), ReplyRefused, always, same, keep},
	{of(Idle), ReplyRetry, always, same, keep},
	{of(Idle), ReplyInDoubt, always, same, keep},
	{of(Idle), ReplyFenced, always, same, keep},
	{of(Idle), UndoDone, always, same, keep},
	{of(Idle), UndoRefused, always, same, keep},
	{of(Idle), UndoRetry, always, same, keep},
	{of(Idle), UndoDoubted, always, same, keep},
	{of(Idle), TimerFired, always, same, ignore},
	{of(Idle), OperatorRetry, always, same, decline},
	{of(Idle), OperatorSettle, always, same, decline},

	{open, StepIssue, always, same, ignore},
	{open, StepUndo, always, Undoing, sendUndo},
	{open, ReplyDone, always, Done, hold},
	{open, ReplyRefused, canRefuse, Refused, refuse},
	{open, ReplyRefused, isOptional, Refused, doWithout},
	{open, ReplyRefused, mustSucceed, Backoff, tryNewKey},
	{open, ReplyFenced, canRefuse, Refused, refuse},
	{open, ReplyFenced, isOptional, Refused, doWithout},
	{open, ReplyFenced, mustSucceed, Backoff, tryNewKey},
	{open, ReplyRetry, always, Backoff, waitAsTold},
	{open, ReplyInDoubt, always, InDoubt, waitAsTold},
	{open, UndoDone, always, same, keep},
	{open, UndoRefused, always, same, keep},
	{open, UndoRetry, always, same, keep},
	{open, UndoDoubted, always, same, keep},
	{of(Issued, Backoff), TimerFired, triesLeft, Issued, resend},
	{of(Issued, Backoff), TimerFired, spentInsists, Issued, insist},
	{of(InDoubt), TimerFired, triesLeft, same, resend},
	{of(InDoubt), TimerFired, spentInsists, same, insist},
	{open, TimerFired, spentCompensatable, same, giveUp},
	{open, TimerFired, spentOptional, Skipped, abandon},
	{of(Issued, Backoff), OperatorRetry, stillWanted, Issued, retryNow},
	{of(InDoubt), OperatorRetry, stillWanted, same, retryNow},
	{open, OperatorRetry, goingBack, same, decline},
	{open, OperatorSettle, always, Done, settleDone},

	{of(Done), StepIssue, always, same, ignore},
	{of(Done), StepUndo, hasUndo, Undoing, sendUndo},
	{of(Done), StepUndo, noUndo, same, stuck},
	{of(Done), ReplyDone, always, same, ignore},
	{of(Done), ReplyRefused, always, same, violate},
	{of(Done), ReplyRetry, always, same, ignore},
	{of(Done), ReplyInDoubt, always, same, ignore},
	{of(Done), ReplyFenced, always, same, violate},
	{of(Done), UndoDone, always, same, violate},
	{of(Done), UndoRefused, always, same, keep},
	{of(Done), UndoRetry, always, same, keep},
	{of(Done), UndoDoubted, always, same, keep},
	{of(Done), TimerFired, always, same, ignore},
	{of(Done), OperatorRetry, always, same, decline},
	{of(Done), OperatorSettle, hasUndo, same, decline},
	{of(Done), OperatorSettle, noUndoForth, same, decline},
	{of(Done), OperatorSettle, noUndoBack, Settled, settle},

	{of(Refused), StepIssue, always, same, ignore},
	{of(Refused), StepUndo, always, same, ignore},
	{of(Refused), ReplyDone, hasUndo, Undoing, undoAgain},
	{of(Refused), ReplyDone, noUndoForth, same, violate},
	{of(Refused), ReplyDone, noUndoBack, Done, holdAfterAll},
	{of(Refused), ReplyRefused, always, same, ignore},
	{of(Refused), ReplyRetry, always, same, ignore},
	{of(Refused), ReplyInDoubt, always, same, ignore},
	{of(Refused), ReplyFenced, always, same, ignore},
	{of(Refused), UndoDone, always, same, keep},
	{of(Refused), UndoRefused, always, same, keep},
	{of(Refused), UndoRetry, always, same, keep},
	{of(Refused), UndoDoubted, always, same, keep},
	{of(Refused), TimerFired, always, same, ignore},
	{of(Refused), OperatorRetry, always, same, decline},
	{of(Refused), OperatorSettle, always, same, decline},

	{undoing, StepIssue, always, same, ignore},
	{undoing, StepUndo, always, same, ignore},
	{undoing, ReplyDone, newer, same, holdUntilUndone},
	{undoing, ReplyDone, notNewer, same, keep},
	{undoing, ReplyRefused, always, same, keep},
	{undoing, ReplyRetry, always, same, keep},
	{undoing, ReplyInDoubt, always, same, keep},
	{undoing, ReplyFenced, always, same, keep},
	{undoing, UndoDone, notOlder, Undone, release},
	{undoing, UndoDone, older, same, keep},
	{undoing, UndoRefused, always, UndoBackoff, askForHelp},
	{undoing, UndoRetry, always, UndoBackoff, waitAsTold},
	{undoing, UndoDoubted, always, UndoInDoubt, waitAsTold},
	{of(Undoing, UndoBackoff), TimerFired, triesNotSpent, Undoing, resend},
	{of(Undoing, UndoBackoff), TimerFired, triesSpent, Undoing, insist},
	{of(UndoInDoubt), TimerFired, triesNotSpent, same, resend},
	{of(UndoInDoubt), TimerFired, triesSpent, same, insist},
	{of(Undoing, UndoBackoff), OperatorRetry, always, Undoing, retryNow},
	{of(UndoInDoubt), OperatorRetry, always, same, retryNow},
	{undoing, OperatorSettle, always, Settled, settle},

	{of(Undone), StepIssue, always, same, ignore},
	{of(Undone), StepUndo, always, same, ignore},
	{of(Undone), ReplyDone, newer, Undoing, undoAgain},
	{of(Undone), ReplyDone, notNewer, same, keep},
	{of(Undone), ReplyRefused, always, same, keep},
	{of(Undone), ReplyRetry, always, same, keep},
	{of(Undone), ReplyInDoubt, always, same, keep},
	{of(Undone), ReplyFenced, always, same, keep},
	{of(Undone), UndoDone, always, same, ignore},
	{of(Undone), UndoRefused, always, same, ignore},
	{of(Undone), UndoRetry, always, same, ignore},
	{of(Undone), UndoDoubted, always, same, ignore},
	{of(Undone), TimerFired, always, same, ignore},
	{of(Undone), OperatorRetry, always, same, decline},
	{of(Undone), OperatorSettle, always, same, decline},

	{of(Skipped), StepIssue, always, same, ignore},
	{of(Skipped), StepUndo, always, same, ignore},
	{of(Skipped), ReplyDone, hasUndo, Undoing, undoAgain},
	{of(Skipped), ReplyDone, noUndoForth, Done, hold},
	{of(Skipped), ReplyDone, noUndoBack, Done, holdUnasked},
	{of(Skipped), ReplyRefused, always, same, keep},
	{of(Skipped), ReplyRetry, always, same, keep},
	{of(Skipped), ReplyInDoubt, always, same, keep},
	{of(Skipped), ReplyFenced, always, same, keep},
	{of(Skipped), UndoDone, always, same, keep},
	{of(Skipped), UndoRefused, always, same, keep},
	{of(Skipped), UndoRetry, always, same, keep},
	{of(Skipped), UndoDoubted, always, same, keep},
	{of(Skipped), TimerFired, always, same, ignore},
	{of(Skipped), OperatorRetry, always, same, decline},
	{of(Skipped), OperatorSettle, always, same, decline},

	{of(Settled), StepIssue, always, same, ignore},
	{of(Settled), StepUndo, always, same, ignore},
	{of(Settled), ReplyDone, always, same, keep},
	{of(Settled), ReplyRefused, always, same, keep},
	{of(Settled), ReplyRetry, always, same, keep},
	{of(Settled), ReplyInDoubt, always, same, keep},
	{of(Settled), ReplyFenced, always, same, keep},
	{of(Settled), UndoDone, always, same, keep},
	{of(Settled), UndoRefused, always, same, keep},
	{of(Settled), UndoRetry, always, same, keep},
	{of(Settled), UndoDoubted, always, same, keep},
	{of(Settled), TimerFired, always, same, ignore},
	{of(Settled), OperatorRetry, always, same, decline},
	{of(Settled), OperatorSettle, always, same, decline},
}

var (
	live      = []State{Running, Completing, Compensating}
	ended     = []State{Completed, Compensated, Closed}
	goneBack  = []State{Compensated, Closed}
	noWayBack = []State{Completing, Completed}
)

var sagaTable = []sagaRow{
	// in             on               when          go to        and
	{states(Running), StepWasRefused, whenever, Compensating, goBackward},
	{states(Running), StepGivenUp, whenever, Compensating, goBackward},
	{states(Completing, Compensating), StepWasRefused, whenever, stay, proceed},
	{states(Completing, Compensating), StepGivenUp, whenever, stay, proceed},
	{ended, StepWasRefused, whenever, stay, proceed},
	{ended, StepGivenUp, whenever, stay, proceed},

	{states(Running), PointOfNoReturn, whenever, Completing, confirm},
	{states(Completing, Compensating), PointOfNoReturn, whenever, stay, proceed},
	{ended, PointOfNoReturn, whenever, stay, proceed},
	{states(Completing), AllDone, whenever, Completed, finish},
	{states(Running, Compensating), AllDone, whenever, stay, proceed},
	{ended, AllDone, whenever, stay, proceed},
	{states(Compensating), AllUndone, whenever, Compensated, proveGone},
	{states(Running, Completing), AllUndone, whenever, stay, proceed},
	{ended, AllUndone, whenever, stay, proceed},
	{states(Compensated), EffectReturned, whenever, Compensating, reopen},
	{live, EffectReturned, whenever, stay, proceed},
	{states(Completed, Closed), EffectReturned, whenever, stay, proceed},

	{states(Running), CancelRequested, pivotUntouched, Compensating, agreeToGoBack},
	{states(Running), CancelRequested, pivotInFlight, stay, rememberWish},
	{noWayBack, CancelRequested, whenever, stay, tooLate},
	{states(Compensating), CancelRequested, whenever, stay, agree},
	{goneBack, CancelRequested, whenever, stay, alreadyEnded},

	{states(Running), OperatorUndo, pivotUntouched, Compensating, agreeToGoBack},
	{states(Running), OperatorUndo, pivotInFlight, stay, rememberWish},
	{noWayBack, OperatorUndo, whenever, stay, tooLate},
	{states(Compensating), OperatorUndo, whenever, stay, agree},
	{goneBack, OperatorUndo, whenever, stay, alreadyEnded},

	{states(Running), DeadlinePassed, deadlineUntouched, Compensating, goBackward},
	{states(Running), DeadlinePassed, deadlineInFlight, stay, rememberDeadline},
	{states(Running), DeadlinePassed, deadlineNotYet, stay, proceed},
	{states(Completing, Compensating), DeadlinePassed, whenever, stay, proceed},
	{ended, DeadlinePassed, whenever, stay, proceed},

	{live, OperatorPause, whenever, stay, pause},
	{ended, OperatorPause, whenever, stay, alreadyEnded},
	{live, OperatorResume, whenever, stay, resume},
	{ended, OperatorResume, whenever, stay, alreadyEnded},
	{live, OperatorClose, whenever, Closed, closeWithResidue},
	{ended, OperatorClose, whenever, stay, alreadyEnded},
}

func of(s ...StepState) []StepState { return s }
func states(s ...State) []State     { return s }
