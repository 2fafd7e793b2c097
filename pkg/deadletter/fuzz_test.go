package deadletter_test

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/pg"
)

// FuzzPark keeps arbitrary records: whatever a producer wrote can be parked, is read back byte for byte, and would be
// redriven as it was.
func FuzzPark(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "ce_id", []byte("id"), "it broke")
	f.Add([]byte(nil), []byte("\x00\xff"), "\x00\xff", []byte(nil), "\x00\xff")
	f.Add([]byte{}, []byte{}, "", []byte{}, "")
	f.Add([]byte("k"), []byte(nil), deadletter.RedrivenHeader, []byte("of before"), "\uFFFD")
	pool := mustDB(f)
	offset := int64(0)
	f.Fuzz(func(t *testing.T, key, value []byte, name string, text []byte, cause string) {
		offset++
		record := &kgo.Record{
			Topic: "topic", Partition: 1, Offset: offset, Timestamp: time.Now(), Key: key, Value: value,
			Headers: []kgo.RecordHeader{{Key: name, Value: text}},
		}
		letter := deadletter.New(record, deadletter.Undecodable, errors.New(cause), time.Now())
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			return deadletter.Park(t.Context(), tx, []deadletter.Letter{letter})
		}))
		kept, err := deadletter.Get(t.Context(), pool, letter.ID)
		require.NoError(t, err)
		require.True(t, utf8.ValidString(kept.Error))
		again := kept.Record()
		require.Equal(t, record.Key, again.Key)
		require.Equal(t, record.Value, again.Value)
		if name != deadletter.RedrivenHeader {
			require.Equal(t, name, again.Headers[0].Key)
			require.Equal(t, string(text), string(again.Headers[0].Value))
		}
	})
}
