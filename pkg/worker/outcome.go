package worker

import (
	"fmt"
	"time"
	"unicode/utf8"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// OutcomeKind names what a domain handler said about one command.
type OutcomeKind string

const (
	// KindDone is made by Done.
	KindDone OutcomeKind = "done"
	// KindRefused is made by Refused.
	KindRefused OutcomeKind = "refused"
	// KindRetry is made by Retry.
	KindRetry OutcomeKind = "retry"
	// KindCall is made by Call.
	KindCall OutcomeKind = "call"
	// KindInDoubt is made by InDoubt.
	KindInDoubt OutcomeKind = "in_doubt"
	// KindUndone is made by Undone.
	KindUndone OutcomeKind = "undone"
	// KindUndoRefused is made by UndoRefused.
	KindUndoRefused OutcomeKind = "undo_refused"
)

// Outcome is what a domain handler says about one command. Its zero value is refused as a bug of the handler.
type Outcome struct {
	kind    OutcomeKind
	effects []*sagav1.Effect
	handles map[string]string
	code    string
	text    string
	after   time.Duration
}

// Kind names the outcome.
func (o Outcome) Kind() OutcomeKind { return o.kind }

// Done says that the effect is there. Handles are names that later steps or people need, for example a tracking number.
func Done(effects []*sagav1.Effect, handles map[string]string) Outcome {
	return Outcome{kind: KindDone, effects: effects, handles: handles}
}

// checkText refuses text that readers of the reply would refuse: the encoder lets it pass.
func (o Outcome) checkText() error {
	for _, e := range o.effects {
		if !utf8.ValidString(e.GetKind()) || !utf8.ValidString(e.GetUnit()) || !utf8.ValidString(e.GetHandle()) {
			return fmt.Errorf("effect %q of %q, %q: want UTF-8", e.GetKind(), e.GetUnit(), e.GetHandle())
		}
	}
	for name, value := range o.handles {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("handle %q: %q: want UTF-8", name, value)
		}
	}
	return nil
}

// Refused says that the effect is not there and never will be under this effect key. It is stored: a repeat of the
// command gets the same refusal, also when the reason has passed meanwhile.
func Refused(code, detail string) Outcome {
	return Outcome{kind: KindRefused, code: code, text: detail}
}

// Retry says that nothing happened and the coordinator shall ask again after a while. Nothing is stored by the SDK;
// what the handler wrote for this command is committed, so it should have written nothing. From Settle and
// SettleUndo, where a call has gone out, it means the same as InDoubt.
func Retry(after time.Duration, reason string) Outcome {
	return Outcome{kind: KindRetry, after: after, text: reason}
}

// Call says that the outside call shall be made as soon as the transaction is committed.
func Call() Outcome { return Outcome{kind: KindCall} }

// InDoubt says that the outcome of an outside call is unknown and shall be asked for again after a while;
// 0 takes the next delay of Config.ProbeDelays. Only handlers with a Call may say it.
func InDoubt(nextProbe time.Duration, reason string) Outcome {
	return Outcome{kind: KindInDoubt, after: nextProbe, text: reason}
}

// Undone says that the effect is gone.
func Undone() Outcome { return Outcome{kind: KindUndone} }

// UndoRefused says that the effect is still there and the participant cannot take it back by itself. It is not
// stored: the next undo tries again, and an operator sees the order meanwhile.
func UndoRefused(code, detail string) Outcome {
	return Outcome{kind: KindUndoRefused, code: code, text: detail}
}
