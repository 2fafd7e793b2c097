package saga_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/saga"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// FuzzRecord reads arbitrary bytes as what a saga's row holds: what is read is written and read again as the same.
func FuzzRecord(f *testing.F) {
	d := fuzzed()
	s := saga.New(d, uuid.MustParse("00000000-0000-7000-8000-000000000001"), uuid.Nil)
	for range 3 {
		record, err := saga.MarshalRecord(nil, &s)
		require.NoError(f, err)
		f.Add(record)
		s = saga.Decide(d, s, saga.Event{Kind: saga.Accepted}, time.Unix(1_780_000_000, 0)).Saga
		s = saga.Decide(d, s, saga.Event{Kind: saga.CancelRequested, Detail: "why"}, time.Unix(1_780_000_100, 0)).Saga
	}
	f.Add([]byte{0xff})
	full := sagav1.SagaRecord{
		Cause: 1, CauseDetail: "why", Wish: 2, WishDetail: "wish", Deadline: 5, AttentionStep: 1, AttentionSince: 7,
		AttentionDetail: "look", Since: -3, Steps: []*sagav1.StepRecord{{}, {
			State: 3, Generation: 1, Attempt: 9, Since: 1, Due: 2, EffectSeq: 4, IssuedAt: 6, EverIssued: true,
			Effects: []*sagav1.Effect{{Kind: "stock", Amount: -1, Unit: "MUG", Handle: "h"}, {}},
			Handles: map[string]string{"a": "b", "c": ""}, RefusalCode: "code", RefusalDetail: "detail", Evidence: "e",
		}, {Evidence: "0198f0a0-0000-7000-8000-000000000000"}, {EvidenceId: make([]byte, 16)}, {EvidenceId: []byte("short")}},
	}
	record, err := proto.Marshal(&full)
	require.NoError(f, err)
	f.Add(record)
	f.Fuzz(func(t *testing.T, data []byte) {
		var (
			first, second saga.Saga
			message       sagav1.SagaRecord
		)
		if proto.Unmarshal(data, &message) != nil {
			require.ErrorContains(t, saga.UnmarshalRecord(data, &first), "decoding the record of saga")
			return
		}
		require.NoError(t, saga.UnmarshalRecord(data, &first))
		require.Equal(t, ofMessage(&message), first)
		again, err := saga.MarshalRecord(nil, &first)
		require.NoError(t, err)
		require.NoError(t, saga.UnmarshalRecord(again, &second))
		require.Equal(t, first, second)
		message.Reset()
		require.NoError(t, proto.Unmarshal(again, &message))
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(&message)
		require.NoError(t, err)
		require.Equal(t, canonical, again, "what is written is the message, byte for byte")
	})
}

// ofMessage is the record as the generated types read it.
func ofMessage(r *sagav1.SagaRecord) saga.Saga {
	instant := func(us int64) (t time.Time) {
		if us != 0 {
			t = time.UnixMicro(us).UTC()
		}
		return t
	}
	s := saga.Saga{
		Cause: saga.Cause(r.GetCause()), CauseDetail: r.GetCauseDetail(),
		Wish: saga.Cause(r.GetWish()), WishDetail: r.GetWishDetail(),
		Deadline: instant(r.GetDeadline()), Since: instant(r.GetSince()), Steps: make([]saga.StepStatus, len(r.GetSteps())),
	}
	s.Attention.Step, s.Attention.Detail = int(r.GetAttentionStep()), r.GetAttentionDetail()
	s.Attention.Since = instant(r.GetAttentionSince())
	for i, st := range r.GetSteps() {
		s.Steps[i] = saga.StepStatus{
			State: saga.StepState(st.GetState()), Generation: st.GetGeneration(), Attempt: st.GetAttempt(),
			Since: instant(st.GetSince()), Due: instant(st.GetDue()), Seq: st.GetEffectSeq(),
			Effects: effectsOf(st.GetEffects()), Handles: st.GetHandles(),
			Code: st.GetRefusalCode(), Detail: st.GetRefusalDetail(), Evidence: st.GetEvidence(),
			IssuedAt: instant(st.GetIssuedAt()), EverIssued: st.GetEverIssued(),
		}
		if len(st.GetHandles()) == 0 {
			s.Steps[i].Handles = nil // no handles, whichever way they are written
		}
		if id, err := uuid.FromBytes(st.GetEvidenceId()); err == nil {
			s.Steps[i].Evidence = id.String()
		}
	}
	return s
}

// FuzzReply gives arbitrary replies to sagas at every stage of their life, between other events: each is an event or
// refused with a reason, no answer makes a saga lie about what it holds or stand still where nobody looks, and what it
// becomes can be stored.
func FuzzReply(f *testing.F) {
	values := replies(f)
	for i, value := range values {
		f.Add([]byte{0, 1, 2, 3}, value, value)
		f.Add([]byte{1}, slices.Concat(value, values[max(0, i-1)]), slices.Concat(value, value)) // in pieces
	}
	f.Fuzz(answered)
}

// The same for any two answers, whoever gives them and in whatever order, before and after every other event.
func TestReply_AnyTwo(t *testing.T) {
	t.Parallel()
	values := replies(t)
	for _, first := range values {
		for _, second := range values {
			answered(t, []byte{0, 1, 2, 3, 6}, first, second)
			answered(t, []byte{2, 3, 6, 4}, first, second)
		}
	}
}

// replies are one of each kind from each step of fuzzed.
func replies(tb testing.TB) [][]byte {
	tb.Helper()
	var values [][]byte
	for _, reply := range []*sagav1.Reply{
		{Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{
			Effects: []*sagav1.Effect{{Kind: "\x00", Amount: -1 << 63}}, Handles: map[string]string{"a": "b"},
		}}},
		{Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "c", Detail: "\x00"}}},
		{Outcome: &sagav1.Reply_Retry{Retry: &sagav1.Retry{Reason: "later"}}},
		{Outcome: &sagav1.Reply_InDoubt{InDoubt: &sagav1.InDoubt{Reason: "?"}}},
		{Outcome: &sagav1.Reply_Fenced{Fenced: &sagav1.Fenced{}}},
		{Operation: sagav1.Operation_OPERATION_UNDO, Outcome: &sagav1.Reply_Undone{Undone: &sagav1.Undone{Nothing: true}}},
		{Operation: sagav1.Operation_OPERATION_UNDO, Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{}}},
		{Operation: 7},
	} {
		for _, step := range fuzzed().Steps() {
			reply.Step, reply.Generation, reply.EffectSeq, reply.Attempt = step.Name, 1, 1, 1
			if reply.GetOperation() == 0 {
				reply.Operation = sagav1.Operation_OPERATION_DO
			}
			value, err := proto.Marshal(reply)
			require.NoError(tb, err)
			values = append(values, value)
		}
	}
	return values
}

func answered(t *testing.T, others, first, second []byte) {
	d := fuzzed()
	s := saga.New(d, uuid.MustParse("00000000-0000-7000-8000-000000000001"), uuid.Nil)
	now := time.Unix(1_780_000_000, 0).UTC()
	apply := func(ev saga.Event) {
		before := s.Revision
		out := saga.Decide(d, s, ev, now)
		s = out.Saga
		require.GreaterOrEqual(t, s.Revision, before)
		if s.State == saga.Compensated {
			require.Empty(t, saga.Residue(d, &s), "undone, and something is left")
		}
		if !s.State.Ended() && !s.Paused && s.NextDue().IsZero() {
			require.NotZero(t, s.Attention.Kind, "nothing comes next, and nobody is told")
		}
		record, err := saga.MarshalRecord(nil, &s)
		require.NoError(t, err)
		var stored saga.Saga
		require.NoError(t, saga.UnmarshalRecord(record, &stored))
		_ = saga.Explain(d, &s).Summary
	}
	apply(saga.Event{Kind: saga.Accepted})
	for i, other := range append(others[:min(len(others), 40):min(len(others), 40)], 0) {
		for _, data := range [][]byte{first, second} {
			var message sagav1.Reply
			if proto.Unmarshal(data, &message) != nil {
				_, err := saga.ReadReply(data)
				require.ErrorContains(t, err, "decoding a reply")
				continue
			}
			reply, err := saga.ReadReply(data)
			require.NoError(t, err)
			require.Equal(t, message.GetSagaId(), string(reply.SagaID))
			require.Equal(t, message.GetStep(), string(reply.Step))
			if int(other)%3 == 1 {
				reply.Step = []byte(d.Steps()[i%len(d.Steps())].Name)
			}
			ev, err := saga.EventOf(d, &reply, "participant:test", "evidence")
			if err != nil {
				require.ErrorContains(t, err, "reply")
				continue
			}
			require.Equal(t, string(reply.Step), d.Steps()[ev.Step].Name)
			require.Equal(t, eventOf(&message, ev.Step), ev)
			apply(ev)
		}
		now = now.Add(time.Duration(other) * time.Minute)
		apply([]saga.Event{
			{Kind: saga.CancelRequested},
			{Kind: saga.OperatorUndo},
			{Kind: saga.OperatorPause},
			{Kind: saga.OperatorResume},
			{Kind: saga.OperatorRetry, Step: i % len(d.Steps())},
			{Kind: saga.DeadlinePassed},
			{Kind: saga.OperatorSettle, Step: i % len(d.Steps())},
		}[int(other)%7])
	}
}

// eventOf is the event of a reply as the generated types read it.
func eventOf(r *sagav1.Reply, step int) saga.Event {
	ev := saga.Event{
		Step: step, Generation: r.GetGeneration(), Op: saga.Op(r.GetOperation()), Attempt: r.GetAttempt(),
		Seq: r.GetEffectSeq(), Actor: "participant:test", Evidence: "evidence",
	}
	kinds := [2]saga.EventKind{} // to a do, to an undo
	switch o := r.GetOutcome().(type) {
	case *sagav1.Reply_Done:
		kinds = [2]saga.EventKind{saga.ReplyDone}
		if ev.Effects = effectsOf(o.Done.GetEffects()); len(o.Done.GetHandles()) > 0 { // as with those of a record
			ev.Handles = o.Done.GetHandles()
		}
	case *sagav1.Reply_Refused:
		kinds = [2]saga.EventKind{saga.ReplyRefused, saga.UndoRefused}
		ev.Code, ev.Detail = o.Refused.GetCode(), o.Refused.GetDetail()
	case *sagav1.Reply_Retry:
		kinds = [2]saga.EventKind{saga.ReplyRetry, saga.UndoRetry}
		ev.At, ev.Detail = o.Retry.GetNotBefore().AsTime(), o.Retry.GetReason()
	case *sagav1.Reply_InDoubt:
		kinds = [2]saga.EventKind{saga.ReplyInDoubt, saga.UndoDoubted}
		ev.At, ev.Detail = o.InDoubt.GetNextProbe().AsTime(), o.InDoubt.GetReason()
	case *sagav1.Reply_Undone:
		kinds = [2]saga.EventKind{1: saga.UndoDone}
	case *sagav1.Reply_Fenced:
		kinds = [2]saga.EventKind{saga.ReplyFenced}
	}
	ev.Kind = kinds[r.GetOperation()-sagav1.Operation_OPERATION_DO]
	return ev
}

func effectsOf(list []*sagav1.Effect) []saga.Effect {
	var out []saga.Effect
	for _, e := range list {
		out = append(out, saga.Effect{Kind: e.GetKind(), Amount: e.GetAmount(), Unit: e.GetUnit(), Handle: e.GetHandle()})
	}
	return out
}

// fuzzed has a step of every kind.
func fuzzed() *saga.Definition {
	retry := saga.Retry{First: time.Second, Max: time.Minute, GiveUp: 3}
	step := func(name string, kind saga.Kind) saga.Step {
		st := saga.Step{
			Name: name, Kind: kind, Participant: "p", Do: "do." + name, Effect: name, Claim: name + "_done",
			Unclaim: name + "_undone", Retry: retry,
		}
		if kind == saga.Compensatable {
			st.Undo = "undo." + name
		}
		return st
	}
	last := step("tell", saga.Retriable)
	last.Optional = true
	return saga.MustDefine("fuzzed", 1, time.Hour,
		saga.Stage{step("hold", saga.Compensatable)},
		saga.Stage{step("pay", saga.Compensatable), step("book", saga.Compensatable)},
		saga.Stage{step("charge", saga.Pivot)}, saga.Stage{step("ship", saga.Retriable)}, saga.Stage{last})
}
