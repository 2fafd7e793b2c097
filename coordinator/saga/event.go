package saga

import "time"

// Op is what a command asks for.
type Op uint8

const (
	OpDo   Op = 1
	OpUndo Op = 2
)

func (o Op) String() string { return [...]string{"", "do", "undo"}[o] }

// EventKind names everything that can happen to a saga.
type EventKind uint8

const (
	// Events of one step: replies to a do.
	ReplyDone    EventKind = 1
	ReplyRefused EventKind = 2
	ReplyRetry   EventKind = 3
	ReplyInDoubt EventKind = 4
	ReplyFenced  EventKind = 5
	// Replies to an undo.
	UndoDone    EventKind = 6
	UndoRefused EventKind = 7
	UndoRetry   EventKind = 8
	UndoDoubted EventKind = 9
	// A step's timer, and an operator's hand on one step.
	TimerFired    EventKind = 10
	OperatorRetry EventKind = 11
	// OperatorSettle declares, with evidence, that a do is done, that an undo is undone, or that what nothing undoes has
	// been seen to.
	OperatorSettle EventKind = 12
	// What the saga does to its steps.
	StepIssue EventKind = 13
	StepUndo  EventKind = 14

	// Events of the whole saga.
	Accepted        EventKind = 20
	CancelRequested EventKind = 21
	DeadlinePassed  EventKind = 22
	OperatorUndo    EventKind = 23
	OperatorPause   EventKind = 24
	OperatorResume  EventKind = 25
	OperatorClose   EventKind = 26
	// What the steps tell the saga.
	StepWasRefused  EventKind = 30
	StepGivenUp     EventKind = 31
	PointOfNoReturn EventKind = 32
	AllDone         EventKind = 33
	AllUndone       EventKind = 34
	EffectReturned  EventKind = 35
)

var eventNames = map[EventKind]string{
	ReplyDone: "reply_done", ReplyRefused: "reply_refused", ReplyRetry: "reply_retry",
	ReplyInDoubt: "reply_in_doubt", ReplyFenced: "reply_fenced", UndoDone: "undo_done",
	UndoRefused: "undo_refused", UndoRetry: "undo_retry", UndoDoubted: "undo_in_doubt",
	TimerFired: "timer_fired", OperatorRetry: "operator_retry", OperatorSettle: "operator_settle",
	StepIssue: "step_issue", StepUndo: "step_undo", Accepted: "accepted",
	CancelRequested: "cancel_requested", DeadlinePassed: "deadline_passed", OperatorUndo: "operator_undo",
	OperatorPause: "operator_pause", OperatorResume: "operator_resume", OperatorClose: "operator_close",
	StepWasRefused: "step_refused", StepGivenUp: "step_given_up", PointOfNoReturn: "point_of_no_return",
	AllDone: "all_done", AllUndone: "all_undone", EffectReturned: "effect_returned",
}

func (k EventKind) String() string { return eventNames[k] }

// ofStep says that the event is about one step.
func (k EventKind) ofStep() bool { return k <= StepUndo }

// reply says that a participant spoke.
func (k EventKind) reply() bool { return k <= UndoDoubted }

// toUndo says that the reply can only answer an undo.
func (k EventKind) toUndo() bool { return k >= UndoDone && k <= UndoDoubted }

// Event is one thing that happened. Which fields matter depends on the kind.
type Event struct {
	Kind EventKind
	// Step, Generation and Op are matched against the saga for replies and timers.
	Step       int
	Generation uint32
	Op         Op
	// Attempt must be current for a timer; for a reply it is information.
	Attempt uint32
	// Seq is the participant's effect_seq.
	Seq     uint32
	Effects []Effect
	Handles map[string]string
	// Code and Detail: a refusal, or the words of a customer or operator.
	Code, Detail string
	// At: not before (retry), next probe (in doubt), or the deadline (accepted; zero takes the definition's).
	At time.Time
	// Actor and Evidence go into the history.
	Actor, Evidence string
}

// ActionKind names what Decide asks its caller to do.
type ActionKind uint8

const (
	// Send the step's do or undo command.
	Send ActionKind = 1
	// Announce a fact to other systems; Fact says which.
	Announce ActionKind = 2
	// Answer whoever asked for a cancel or an operator's verb; Answer says what.
	Answer ActionKind = 3
)

// Fact is a public fact about an order.
type Fact uint8

const (
	FactAccepted         Fact = 1
	FactConfirmed        Fact = 2
	FactCompleted        Fact = 3
	FactCancelling       Fact = 4
	FactCancelled        Fact = 5
	FactClosed           Fact = 6
	FactAttentionRaised  Fact = 7
	FactAttentionCleared Fact = 8
)

func (f Fact) String() string {
	return [...]string{
		"", "accepted", "confirmed", "completed", "cancelling", "cancelled", "closed",
		"attention_raised", "attention_cleared",
	}[f]
}

// Verdict is the answer to a wish.
type Verdict uint8

const (
	// Agreed: it is being done.
	Agreed Verdict = 1
	// PendingDecision: the pivot is in flight; its answer decides.
	PendingDecision Verdict = 2
	// TooLate: the point of no return is behind.
	TooLate Verdict = 3
	// AlreadyEnded: there is nothing left to do.
	AlreadyEnded Verdict = 4
	// NotPossible: the verb does not fit the state; Detail of the trace says why.
	NotPossible Verdict = 5
)

func (v Verdict) String() string {
	return [...]string{"", "agreed", "pending_decision", "too_late", "already_ended", "not_possible"}[v]
}

// Action is one thing for the caller to do after the new state is stored.
type Action struct {
	Kind       ActionKind
	Step       int
	Op         Op
	Generation uint32
	Attempt    uint32
	Fact       Fact
	Verdict    Verdict
	// Attention is the kind that was raised or cleared.
	Attention AttentionKind
}

// Transition is one row of a table that was taken.
type Transition struct {
	// Step is -1 for the saga itself.
	Step     int
	Event    EventKind
	From, To uint8
	Do       string
}

// Decision is what follows from an event.
type Decision struct {
	Saga    Saga
	Actions []Action
	// Trace lists the rows taken, for the history and for scenario files.
	Trace []Transition
	// Changed is false when the event was only kept as evidence.
	Changed bool
}
