package saga

import (
	"fmt"
	"time"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// EffectsOf converts effects from the wire.
func EffectsOf(list []*sagav1.Effect) []Effect {
	var out []Effect
	for _, e := range list {
		out = append(out, Effect{Kind: e.GetKind(), Amount: e.GetAmount(), Unit: e.GetUnit(), Handle: e.GetHandle()})
	}
	return out
}

// EventOf is the event that a reply brings. Unknown outcomes and operations
// are an error: they come from a newer participant, and guessing would be worse.
func EventOf(d *Definition, r *sagav1.Reply, actor, evidence string) (Event, error) {
	step, ok := d.Index(r.GetStep())
	if !ok {
		return Event{}, fmt.Errorf("reply names step %q, which %s does not have", r.GetStep(), d.name)
	}
	ev := Event{
		Step: step, Generation: r.GetGeneration(), Attempt: r.GetAttempt(), Seq: r.GetEffectSeq(),
		Actor: actor, Evidence: evidence,
	}
	undo := false
	switch r.GetOperation() {
	case sagav1.Operation_OPERATION_DO:
		ev.Op = OpDo
	case sagav1.Operation_OPERATION_UNDO:
		ev.Op, undo = OpUndo, true
	default:
		return Event{}, fmt.Errorf("reply to step %q has operation %s; it must be DO or UNDO", r.GetStep(), r.GetOperation())
	}
	switch o := r.GetOutcome().(type) {
	case *sagav1.Reply_Done:
		ev.Kind = ReplyDone
		ev.Effects, ev.Handles = EffectsOf(o.Done.GetEffects()), o.Done.GetHandles()
	case *sagav1.Reply_Refused:
		ev.Kind = pick(undo, UndoRefused, ReplyRefused)
		ev.Code, ev.Detail = o.Refused.GetCode(), o.Refused.GetDetail()
	case *sagav1.Reply_Retry:
		ev.Kind = pick(undo, UndoRetry, ReplyRetry)
		ev.At, ev.Detail = o.Retry.GetNotBefore().AsTime(), o.Retry.GetReason()
	case *sagav1.Reply_InDoubt:
		ev.Kind = pick(undo, UndoDoubted, ReplyInDoubt)
		ev.At, ev.Detail = o.InDoubt.GetNextProbe().AsTime(), o.InDoubt.GetReason()
	case *sagav1.Reply_Undone:
		ev.Kind = UndoDone
	case *sagav1.Reply_Fenced:
		ev.Kind = ReplyFenced
	default:
		return Event{}, fmt.Errorf("reply to step %q has no outcome that this build knows", r.GetStep())
	}
	if ev.Kind.toUndo() != undo {
		return Event{}, fmt.Errorf("reply to step %q answers %s with %s", r.GetStep(), ev.Op, ev.Kind)
	}
	return ev, nil
}

func pick(undo bool, a, b EventKind) EventKind {
	if undo {
		return a
	}
	return b
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
