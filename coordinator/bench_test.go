package coordinator_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// What a transaction of new orders, and one of replies, costs with batches of the sizes that are seen under load. A
// saga's share is what to compare; task bench:compare does.
func BenchmarkWritePath(b *testing.B) {
	for _, size := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("accept_%d", size), func(b *testing.B) {
			c, _ := newService(b)
			b.ReportAllocs()
			for b.Loop() {
				accept(b.Context(), b, c, fmt.Sprintf("%d-%d", size, b.Elapsed()), size)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/saga")
		})
		b.Run(fmt.Sprintf("reply_%d", size), func(b *testing.B) {
			c, _ := newService(b)
			done := &sagav1.Reply{
				Step: "reserve_stock", Generation: 1, Operation: sagav1.Operation_OPERATION_DO, EffectSeq: 1,
				Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1}}}},
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				n++
				ids := accept(b.Context(), b, c, fmt.Sprintf("%d-%d", size, n), size)
				b.StartTimer()
				commands, err := c.Reply(b.Context(), ids, done)
				require.NoError(b, err)
				require.Equal(b, size, commands)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/saga")
		})
	}
}
