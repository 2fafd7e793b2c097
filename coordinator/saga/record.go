package saga

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// MarshalRecord encodes what the coordinator's narrow row keeps beside its
// columns (id, definition, state, revision, paused, attention kind, created and
// ended). Times are stored in microseconds.
func MarshalRecord(dst []byte, s *Saga) ([]byte, error) {
	r := sagav1.SagaRecord{
		Steps: make([]*sagav1.StepRecord, len(s.Steps)),
		Cause: uint32(s.Cause), CauseDetail: s.CauseDetail,
		Wish: uint32(s.Wish), WishDetail: s.WishDetail,
		Deadline:        micros(s.Deadline),
		AttentionStep:   uint32(s.Attention.Step),
		AttentionSince:  micros(s.Attention.Since),
		AttentionDetail: s.Attention.Detail,
		Since:           micros(s.Since),
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		rec := &sagav1.StepRecord{
			State: uint32(st.State), Generation: st.Generation, Attempt: st.Attempt,
			Since: micros(st.Since), Due: micros(st.Due), EffectSeq: st.Seq,
			Handles: st.Handles, RefusalCode: st.Code, RefusalDetail: st.Detail, Evidence: st.Evidence,
			IssuedAt: micros(st.IssuedAt), EverIssued: st.EverIssued,
		}
		for _, e := range st.Effects {
			rec.Effects = append(rec.Effects, &sagav1.Effect{Kind: e.Kind, Amount: e.Amount, Unit: e.Unit, Handle: e.Handle})
		}
		r.Steps[i] = rec
	}
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, &r)
}

// UnmarshalRecord fills in what MarshalRecord encoded. The columns, the
// attention kind among them, must be set by the caller.
func UnmarshalRecord(data []byte, s *Saga) error {
	var r sagav1.SagaRecord
	if err := proto.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("decoding the record of saga %s: %w", s.ID, err)
	}
	s.Cause, s.CauseDetail = Cause(r.GetCause()), r.GetCauseDetail()
	s.Wish, s.WishDetail = Cause(r.GetWish()), r.GetWishDetail()
	s.Deadline, s.Since = instant(r.GetDeadline()), instant(r.GetSince())
	s.Attention.Step = int(r.GetAttentionStep())
	s.Attention.Since, s.Attention.Detail = instant(r.GetAttentionSince()), r.GetAttentionDetail()
	s.Steps = make([]StepStatus, len(r.GetSteps()))
	for i, rec := range r.GetSteps() {
		s.Steps[i] = StepStatus{
			State: StepState(rec.GetState()), Generation: rec.GetGeneration(), Attempt: rec.GetAttempt(),
			Since: instant(rec.GetSince()), Due: instant(rec.GetDue()), Seq: rec.GetEffectSeq(),
			Effects: EffectsOf(rec.GetEffects()), Handles: rec.GetHandles(),
			Code: rec.GetRefusalCode(), Detail: rec.GetRefusalDetail(), Evidence: rec.GetEvidence(),
			IssuedAt: instant(rec.GetIssuedAt()), EverIssued: rec.GetEverIssued(),
		}
	}
	return nil
}

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
