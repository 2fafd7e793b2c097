package worker

import (
	"fmt"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// This file is pure: no clock, no context, no database. The participant and the simulator run the same two tables.

// State is what is known about one effect. The numbers are stored in the column step.state.
type State int16

const (
	// StateAbsent means that no command of this effect key has been decided here. It is never stored.
	StateAbsent State = 0
	// StateInDoubt means that an outside call for the do went out and its outcome is unknown.
	StateInDoubt State = 1
	// StateDone means that the effect is there.
	StateDone State = 2
	// StateRefused means that the effect is not there and never will be under this effect key.
	StateRefused State = 3
	// StateVoid is the tombstone of an undo that came before its do.
	StateVoid State = 4
	// StateUndoInDoubt means that an outside call for the undo went out and its outcome is unknown.
	StateUndoInDoubt State = 5
	// StateUndone means that the effect was there and is proven gone.
	StateUndone State = 6
)

// States lists every state, StateAbsent first.
func States() []State {
	return []State{StateAbsent, StateInDoubt, StateDone, StateRefused, StateVoid, StateUndoInDoubt, StateUndone}
}

// String names the state as people and metrics see it.
func (s State) String() string {
	switch s {
	case StateAbsent:
		return "absent"
	case StateInDoubt:
		return "in_doubt"
	case StateDone:
		return "done"
	case StateRefused:
		return "refused"
	case StateVoid:
		return "void"
	case StateUndoInDoubt:
		return "undo_in_doubt"
	case StateUndone:
		return "undone"
	}
	return fmt.Sprintf("state(%d)", int16(s))
}

// Open reports whether an outside call of this state is unanswered, so that the resolver owns the row.
func (s State) Open() bool { return s == StateInDoubt || s == StateUndoInDoubt }

// Operation is what a command asks for: OpDo or OpUndo.
type Operation = sagav1.Operation

const (
	// OpDo asks for the effect.
	OpDo = sagav1.Operation_OPERATION_DO
	// OpUndo asks to take the effect back and to fence it.
	OpUndo = sagav1.Operation_OPERATION_UNDO
)

// Row is what decides about a command: the pure part of one row of the table step.
type Row struct {
	State State
	// EffectSeq counts the facts stated about the effect; a reply carries the number of its fact.
	EffectSeq int
	// UndoWanted remembers an undo that arrived while the do was in doubt.
	UndoWanted bool
}

// Verdict is what happens to a command that met a row.
type Verdict string

const (
	// RunDo hands the command to the domain's Do or Prepare.
	RunDo Verdict = "run_do"
	// RunUndo hands the command to the domain's Undo or PrepareUndo.
	RunUndo Verdict = "run_undo"
	// StoreVoid stores the tombstone and replies undone(nothing).
	StoreVoid Verdict = "store_void"
	// RepeatReply sends the stored reply again, with the attempt of the command at hand.
	RepeatReply Verdict = "repeat_reply"
	// SayNothing replies undone(nothing): what was refused needs no undo.
	SayNothing Verdict = "say_nothing"
	// SayFenced replies fenced: an undo was here first.
	SayFenced Verdict = "say_fenced"
	// SayInDoubt replies in_doubt: the resolver owns the row and there is no second call.
	SayInDoubt Verdict = "say_in_doubt"
	// RememberUndo keeps the undo command for the resolver and replies in_doubt.
	RememberUndo Verdict = "remember_undo"
)

type verdictRule struct {
	row     State
	arrives Operation
	verdict Verdict
}

// verdicts answers every pair of state and operation exactly once; a test holds it to that.
var verdicts = []verdictRule{
	// row            arrives  verdict
	{StateAbsent, OpDo, RunDo},
	{StateAbsent, OpUndo, StoreVoid},
	{StateInDoubt, OpDo, SayInDoubt},
	{StateInDoubt, OpUndo, RememberUndo},
	{StateDone, OpDo, RepeatReply},
	{StateDone, OpUndo, RunUndo},
	{StateRefused, OpDo, RepeatReply},
	{StateRefused, OpUndo, SayNothing},
	{StateVoid, OpDo, SayFenced},
	{StateVoid, OpUndo, RepeatReply},
	{StateUndoInDoubt, OpDo, SayFenced},
	{StateUndoInDoubt, OpUndo, SayInDoubt},
	{StateUndone, OpDo, SayFenced},
	{StateUndone, OpUndo, RepeatReply},
}

// Decide says what happens to a command that meets the row; nil is an absent row.
func Decide(row *Row, op Operation) Verdict {
	state := StateAbsent
	if row != nil {
		state = row.State
	}
	for _, rule := range verdicts {
		if rule.row == state && rule.arrives == op {
			return rule.verdict
		}
	}
	panic(fmt.Sprintf("worker: no verdict for %s on a row in state %s", op, state))
}

// Phase says who gave an outcome.
type Phase string

const (
	// Doing is the domain's Do or Prepare, on an absent row.
	Doing Phase = "doing"
	// SettlingDo is the domain's Settle, on a row in doubt.
	SettlingDo Phase = "settling_do"
	// Undoing is the domain's Undo or PrepareUndo, on a done row.
	Undoing Phase = "undoing"
	// SettlingUndo is the domain's SettleUndo, on a row whose undo is in doubt.
	SettlingUndo Phase = "settling_undo"
)

type step struct {
	phase Phase
	kind  OutcomeKind
	to    State
	// fact raises the effect_seq: something new is proven about the effect.
	fact bool
}

// steps is every outcome that a phase may end in. An outcome that is not here is a bug of the handler.
var steps = []step{
	// phase          outcome             row goes to        new fact
	{Doing, KindDone, StateDone, true},
	{Doing, KindRefused, StateRefused, true},
	{Doing, KindRetry, StateAbsent, false},
	{Doing, KindCall, StateInDoubt, false},
	{Doing, KindInDoubt, StateInDoubt, false},
	{SettlingDo, KindDone, StateDone, true},
	{SettlingDo, KindRefused, StateRefused, true},
	{SettlingDo, KindRetry, StateInDoubt, false},
	{SettlingDo, KindInDoubt, StateInDoubt, false},
	{Undoing, KindUndone, StateUndone, true},
	{Undoing, KindUndoRefused, StateDone, false},
	{Undoing, KindRetry, StateDone, false},
	{Undoing, KindCall, StateUndoInDoubt, false},
	{Undoing, KindInDoubt, StateUndoInDoubt, false},
	{SettlingUndo, KindUndone, StateUndone, true},
	{SettlingUndo, KindUndoRefused, StateDone, false},
	{SettlingUndo, KindRetry, StateUndoInDoubt, false},
	{SettlingUndo, KindInDoubt, StateUndoInDoubt, false},
}

// Next is the row after an outcome. The error names an outcome that the phase does not allow.
func (r Row) Next(phase Phase, kind OutcomeKind) (Row, error) {
	for _, s := range steps {
		if s.phase != phase || s.kind != kind {
			continue
		}
		next := Row{State: s.to, EffectSeq: r.EffectSeq, UndoWanted: r.UndoWanted && s.to == StateInDoubt}
		if s.fact {
			next.EffectSeq++
		}
		return next, nil
	}
	return r, fmt.Errorf("outcome %q is not allowed while %s", kind, phase)
}

// Void is the tombstone that StoreVoid stores.
func Void() Row { return Row{State: StateVoid, EffectSeq: 1} }
