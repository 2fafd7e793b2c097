package saga_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
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
