package message_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/message"
)

func BenchmarkEncode(b *testing.B) {
	event := sound()
	b.ReportAllocs()
	for b.Loop() {
		_, err := message.Encode("topic", "order", event)
		require.NoError(b, err)
	}
}

func BenchmarkDecode(b *testing.B) {
	record, err := message.Encode("topic", "order", sound())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := message.Decode(record)
		require.NoError(b, err)
	}
}
