package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/message"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Whatever the bytes are, a record becomes a command or a letter, and a command's meta can be trusted.
func FuzzDecode(f *testing.F) {
	w, err := New(Config{Participant: "inventory"}, nil, slog.New(slog.DiscardHandler), nil)
	require.NoError(f, err)
	Handle(w, Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{Do: notRun, Undo: undoNotRun})
	for _, command := range []Input{
		&inventoryv1.ReserveStock{},
		&inventoryv1.ReserveStock{Meta: &sagav1.CommandMeta{
			SagaId:  "0197a8d2-7b1e-7c3a-9f00-000000000001",
			OrderId: "0197a8d2-7b1e-7c3a-9f00-000000000002",
			Step:    "reserve_stock", Generation: 1, Operation: OpDo, Attempt: 1,
		}},
		&inventoryv1.ReleaseStock{Meta: &sagav1.CommandMeta{Step: "\x00", Generation: 1 << 31, Operation: OpUndo}},
	} {
		value, err := proto.Marshal(command)
		require.NoError(f, err)
		f.Add(string(command.ProtoReflect().Descriptor().FullName()), value)
	}
	f.Fuzz(func(t *testing.T, messageType string, value []byte) {
		var d delivery
		w.decode(&d, &kgo.Record{Value: value, Headers: []kgo.RecordHeader{
			{Key: message.HeaderSpecVersion, Value: []byte("1.0")},
			{Key: message.HeaderID, Value: []byte("id")},
			{Key: message.HeaderType, Value: []byte(messageType)},
			{Key: message.HeaderSource, Value: []byte("coordinator")},
			{Key: message.HeaderContentType, Value: []byte("application/protobuf")},
		}}, time.Now())
		require.NotEqual(t, d.command == nil, d.letter == nil, "a command or a letter, never both")
		if c := d.command; c != nil {
			require.NotEmpty(t, c.Step)
			require.GreaterOrEqual(t, c.Generation, 0)
			row := &storedRow{key: c.key(), orderID: c.OrderID}
			key := row.keyFields()
			_, short := key.compactCommand(nil, c.raw)
			for _, stored := range [][]byte{c.raw, short} {
				again, err := restore(row, c.reg, c.op, stored)
				require.NoError(t, err)
				require.Equal(t, c.Header, again.Header, "the row gives back what the record said")
				require.True(t, proto.Equal(c.input, again.input))
			}
		}
	})
}

func notRun(context.Context, pgx.Tx, []*Command[*inventoryv1.ReserveStock]) ([]Outcome, error) {
	panic("decoding runs no handler")
}

func undoNotRun(
	context.Context, pgx.Tx, []*Undo[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock],
) ([]Outcome, error) {
	panic("decoding runs no handler")
}
