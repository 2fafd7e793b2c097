package inventory_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/worker"
)

// A poll of a hundred orders: each for one of a hundred SKUs, or all for the same one.
func BenchmarkReserve(b *testing.B) {
	const batch = 100
	for _, skus := range []int{batch, 1} {
		b.Run(fmt.Sprintf("%d_skus", skus), func(b *testing.B) {
			s := newShop(b)
			for i := range skus {
				s.stock(b, fmt.Sprintf("SKU-%d", i), "BERLIN", "DE", 1_000_000_000)
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				commands := make([]worker.Input, batch)
				for i := range commands {
					commands[i] = s.reserve(want{fmt.Sprintf("SKU-%d", i%skus), 1})
				}
				b.StartTimer()
				replies := s.kit.Send(b, commands...)
				require.NotNil(b, replies[batch-1].GetDone())
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "us/order")
		})
	}
}
