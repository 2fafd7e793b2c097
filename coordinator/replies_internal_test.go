package coordinator

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is said about one order stays in one lane and in its sequence; nothing is left out.
func TestInLanes(t *testing.T) {
	t.Parallel()
	var records []*kgo.Record
	for i := range 100 {
		key := []byte("order-" + strconv.Itoa(i%10))
		if i%10 == 9 {
			key = nil // no reply of ours; it is parked all the same
		}
		records = append(records, &kgo.Record{Key: key, Offset: int64(i)})
	}
	dealt, lane, last := 0, map[string]int{}, map[string]int64{}
	for n, records := range inLanes(records) {
		require.NotEmpty(t, records)
		for _, r := range records {
			key := string(r.Key)
			if before, ok := lane[key]; ok {
				require.Equal(t, before, n, "%q is in two lanes", key)
				require.Greater(t, r.Offset, last[key])
			}
			lane[key], last[key] = n, r.Offset
			dealt++
		}
	}
	require.Equal(t, len(records), dealt)
}
