package saga

import (
	"time"

	"github.com/google/uuid"
)

// State is where a saga is. The numbers are stored; the database's CHECK list repeats them.
type State uint8

const (
	// Running goes forward and can still go back.
	Running State = 1
	// Completing is past the point of no return and only goes forward.
	Completing State = 2
	// Compensating only goes backward.
	Compensating State = 3
	// Completed: every effect is proven there.
	Completed State = 4
	// Compensated: every effect is proven gone.
	Compensated State = 5
	// Closed by an operator, who was shown the effects that remain.
	Closed State = 6
)

// States lists every state of a saga.
var States = []State{Running, Completing, Compensating, Completed, Compensated, Closed}

func (s State) String() string {
	return [...]string{
		0: "none", Running: "running", Completing: "completing", Compensating: "compensating",
		Completed: "completed", Compensated: "compensated", Closed: "closed",
	}[s]
}

// Ended says that nothing more will be sent.
func (s State) Ended() bool { return s >= Completed }

// StepState is where a step is.
type StepState uint8

const (
	// Idle: never sent.
	Idle StepState = 1
	// Issued: the do was sent and is not answered.
	Issued StepState = 2
	// Backoff: the participant asked to be asked again later.
	Backoff StepState = 3
	// InDoubt: the participant does not know the outcome and goes on finding out.
	InDoubt StepState = 4
	// Done: the effect is there, by a recorded reply.
	Done StepState = 5
	// Refused: the effect is not there and never will be, by a recorded reply.
	Refused StepState = 6
	// Undoing: the undo was sent and is not answered.
	Undoing StepState = 7
	// UndoBackoff: the undo will be sent again later.
	UndoBackoff StepState = 8
	// UndoInDoubt: the participant does not know whether the undo happened.
	UndoInDoubt StepState = 9
	// Undone: the effect is gone and fenced, by a recorded reply.
	Undone StepState = 10
	// Skipped: never issued because the saga went back, or optional and given up.
	Skipped StepState = 11
	// Settled: an operator vouches, with evidence, that nothing is left to undo.
	Settled StepState = 12
)

// StepStates lists every state of a step.
var StepStates = []StepState{
	Idle, Issued, Backoff, InDoubt, Done, Refused, Undoing, UndoBackoff, UndoInDoubt, Undone, Skipped, Settled,
}

func (s StepState) String() string {
	return [...]string{
		0: "none", Idle: "idle", Issued: "issued", Backoff: "backoff", InDoubt: "in_doubt", Done: "done",
		Refused: "refused", Undoing: "undoing", UndoBackoff: "undo_backoff", UndoInDoubt: "undo_in_doubt",
		Undone: "undone", Skipped: "skipped", Settled: "settled",
	}[s]
}

// open says that a do is on its way and its outcome is not known.
func (s StepState) open() bool { return s == Issued || s == Backoff || s == InDoubt }

// undoing says that an undo is on its way.
func (s StepState) undoing() bool { return s == Undoing || s == UndoBackoff || s == UndoInDoubt }

// waiting says that the step has a timer.
func (s StepState) waiting() bool { return s.open() || s.undoing() }

// Cause says why a saga goes backward, or wants to.
type Cause uint8

const (
	CauseNone      Cause = 0
	CauseRefused   Cause = 1
	CauseNoAnswer  Cause = 2
	CauseCancelled Cause = 3
	CauseDeadline  Cause = 4
	CauseOperator  Cause = 5
)

func (c Cause) String() string {
	return [...]string{"", "refused", "no_answer", "cancelled", "deadline", "operator"}[c]
}

// AttentionKind says why an operator should look.
type AttentionKind uint8

const (
	AttentionNone AttentionKind = 0
	// NoAnswer: a participant has not answered for long; it is still asked.
	NoAnswer AttentionKind = 1
	// UndoWasRefused: a participant cannot take its effect back; it is still asked.
	UndoWasRefused AttentionKind = 2
	// ForwardWasRefused: a retriable step was refused; it is tried again under a new effect key.
	ForwardWasRefused AttentionKind = 3
	// ContractViolation: a participant said what the protocol rules out.
	ContractViolation AttentionKind = 4
)

// AttentionKinds lists every kind.
var AttentionKinds = []AttentionKind{NoAnswer, UndoWasRefused, ForwardWasRefused, ContractViolation}

func (k AttentionKind) String() string {
	return [...]string{"", "no_answer", "undo_refused", "forward_refused", "contract_violation"}[k]
}

// Attention is the one thing about a saga that an operator should look at first.
type Attention struct {
	Kind   AttentionKind
	Step   int
	Since  time.Time
	Detail string
}

// Effect is one thing that a step brought about.
type Effect struct {
	Kind   string
	Amount int64
	Unit   string
	Handle string
}

// StepStatus is one step of a saga.
type StepStatus struct {
	State StepState
	// Generation is part of the effect key; it rises when a new try needs a new key.
	Generation uint32
	// Attempt counts the sends of the current operation.
	Attempt uint32
	// Since when the step is in its state.
	Since time.Time
	// IssuedAt is the first send of the current operation.
	IssuedAt time.Time
	// Due is when the step's timer fires; zero when it waits for nothing.
	Due time.Time
	// Seq is the highest effect_seq heard of in this generation.
	Seq uint32
	// EverIssued says that a do may have reached the participant.
	EverIssued bool
	Effects    []Effect
	Handles    map[string]string
	// Code and Detail are the last refusal, or an operator's words.
	Code, Detail string
	// Evidence is the message that proves the state.
	Evidence string
}

// Saga is the whole state of one saga. Values are copied by Decide and never
// shared: the slices and maps below a StepStatus are replaced, not changed.
type Saga struct {
	ID         uuid.UUID
	OrderID    uuid.UUID
	Definition Hash
	State      State
	Since      time.Time
	// Revision counts the writes.
	Revision  int64
	CreatedAt time.Time
	// EndedAt is zero while anything is open.
	EndedAt time.Time
	// Deadline is zero once it has passed or no longer matters.
	Deadline time.Time
	Cause    Cause
	// CauseDetail is the refusal's code or the words of who asked.
	CauseDetail string
	// Wish is a cause that waits for the pivot's answer.
	Wish       Cause
	WishDetail string
	Paused     bool
	Attention  Attention
	Steps      []StepStatus
}

// New is a saga before its first event.
func New(d *Definition, id, order uuid.UUID) Saga {
	s := Saga{ID: id, OrderID: order, Definition: d.hash, Steps: make([]StepStatus, len(d.steps))}
	for i := range s.Steps {
		s.Steps[i] = StepStatus{State: Idle, Generation: 1}
	}
	return s
}

// LastChange is the latest time at which the saga or a step of it is known to have changed.
func (s *Saga) LastChange() time.Time {
	last := s.CreatedAt
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	later(s.Since)
	for i := range s.Steps {
		later(s.Steps[i].Since)
		later(s.Steps[i].IssuedAt)
	}
	return last
}

// NextDue is the earliest instant at which something happens by itself; zero is never.
func (s *Saga) NextDue() time.Time {
	if s.Paused {
		return time.Time{}
	}
	due := s.Deadline
	for i := range s.Steps {
		if t := s.Steps[i].Due; !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	return due
}

// DueEvents are the timers that have fired by now. The caller applies them one
// after the other; each names the operation and attempt that it belongs to, so
// one that an earlier event made stale is a no-op.
func (s *Saga) DueEvents(now time.Time) []Event {
	if s.Paused {
		return nil
	}
	var evs []Event
	if !s.Deadline.IsZero() && !s.Deadline.After(now) {
		evs = append(evs, Event{Kind: DeadlinePassed})
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		if !st.Due.IsZero() && !st.Due.After(now) {
			evs = append(evs, Event{Kind: TimerFired, Step: i, Generation: st.Generation, Op: st.State.op(), Attempt: st.Attempt})
		}
	}
	return evs
}

// op is the operation that a waiting step waits for.
func (s StepState) op() Op {
	if s.undoing() {
		return OpUndo
	}
	return OpDo
}
