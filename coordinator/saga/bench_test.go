package saga_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/saga"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func BenchmarkDecide(b *testing.B) {
	d, now := fuzzed(), time.Unix(1_780_000_000, 0)
	accepted := saga.Decide(d, saga.New(d, uuid.New(), uuid.New()), saga.Event{Kind: saga.Accepted}, now).Saga
	reply := saga.Event{Kind: saga.ReplyDone, Op: saga.OpDo, Generation: 1, Seq: 1}
	b.ReportAllocs()
	for b.Loop() {
		require.True(b, saga.Decide(d, accepted, reply, now).Changed)
	}
}

func BenchmarkRecord(b *testing.B) {
	d, now := fuzzed(), time.Unix(1_780_000_000, 0)
	s := saga.Decide(d, saga.New(d, uuid.New(), uuid.New()), saga.Event{Kind: saga.Accepted}, now).Saga
	b.ReportAllocs()
	for b.Loop() {
		record, err := saga.MarshalRecord(nil, &s)
		require.NoError(b, err)
		var again saga.Saga
		require.NoError(b, saga.UnmarshalRecord(record, &again))
	}
}

func BenchmarkReply(b *testing.B) {
	d := fuzzed()
	value, err := proto.Marshal(&sagav1.Reply{
		SagaId: uuid.NewString(), OrderId: uuid.NewString(), Step: "hold", Generation: 1, Attempt: 1, EffectSeq: 1,
		Operation: sagav1.Operation_OPERATION_DO, DecidedAt: timestamppb.Now(), Worker: "worker",
		Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1, Unit: "MUG"}}}},
	})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		reply, err := saga.ReadReply(value)
		require.NoError(b, err)
		_, err = saga.EventOf(d, &reply, "participant:p", "evidence")
		require.NoError(b, err)
	}
}
