package worker

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestCompact_gives_back_what_was_stored(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) uuid.UUID { return uuid.UUID(b) })
		row := &storedRow{
			key: rowKey{
				saga: id.Draw(t, "saga"), step: rapid.StringN(1, 20, maxStepName).Draw(t, "step"),
				generation: rapid.IntRange(0, 1<<31-1).Draw(t, "generation"),
			},
			orderID: id.Draw(t, "order"),
		}
		at := &timestamppb.Timestamp{
			Seconds: rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(t, "nanos"),
		}

		reply := &sagav1.Reply{
			SagaId: row.key.saga.String(), OrderId: row.orderID.String(), Step: row.key.step,
			Generation: uint32(row.key.generation), Operation: OpDo, Attempt: rapid.Uint32().Draw(t, "attempt"),
			EffectSeq: rapid.Uint32().Draw(t, "seq"), DecidedAt: at, Worker: rapid.String().Draw(t, "build"),
		}
		text := rapid.String()
		switch rapid.IntRange(0, 2).Draw(t, "outcome") {
		case 0:
			reply.Outcome = &sagav1.Reply_Done{Done: &sagav1.Done{
				Effects: []*sagav1.Effect{{Kind: text.Draw(t, "kind"), Amount: rapid.Int64().Draw(t, "amount")}},
				Handles: rapid.MapOf(text, text).Draw(t, "handles"),
			}}
		case 1:
			reply.Outcome = &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: text.Draw(t, "code")}}
		case 2:
			reply.Outcome = &sagav1.Reply_Undone{Undone: &sagav1.Undone{Nothing: rapid.Bool().Draw(t, "nothing")}}
		}
		whole := mustMarshal(t, reply)
		key := row.keyFields()
		_, short := key.compactReply(nil, whole)
		require.Less(t, len(short), len(whole)-2*36)
		for _, row.reply = range [][]byte{whole, short} {
			read := &sagav1.Reply{}
			require.NoError(t, row.readReply(read))
			require.Equal(t, whole, mustMarshal(t, read), "what is sent again, byte for byte")
		}

		command := &inventoryv1.ReserveStock{
			Meta: &sagav1.CommandMeta{
				SagaId: row.key.saga.String(), OrderId: row.orderID.String(), Step: row.key.step,
				Generation: uint32(row.key.generation), Operation: OpDo, Attempt: rapid.Uint32().Draw(t, "attempt"), IssuedAt: at,
			},
			Lines:         []*inventoryv1.StockLine{{Sku: text.Draw(t, "sku"), Quantity: rapid.Int64().Draw(t, "quantity")}},
			ShipToCountry: text.Draw(t, "country"),
		}
		whole = mustMarshal(t, command)
		_, short = key.compactCommand(nil, whole)
		require.Less(t, len(short), len(whole)-2*36)
		for _, stored := range [][]byte{whole, short} {
			read := &inventoryv1.ReserveStock{}
			require.NoError(t, row.readCommand(stored, read))
			require.Equal(t, whole, mustMarshal(t, read))
		}
	})
}

// What the columns would not give back is kept whole.
func TestCompact_keeps_whole_what_differs(t *testing.T) {
	t.Parallel()
	row := &storedRow{key: rowKey{saga: uuid.Max, step: "step", generation: 1}, orderID: uuid.Max}
	key, same := row.keyFields(), uuid.Max.String()
	for name, meta := range map[string]*sagav1.CommandMeta{
		"spelled otherwise":  {SagaId: strings.ToUpper(same), OrderId: same, Step: "step", Generation: 1},
		"another order":      {SagaId: same, OrderId: uuid.Nil.String(), Step: "step", Generation: 1},
		"no order":           {SagaId: same, Step: "step", Generation: 1},
		"another step":       {SagaId: same, OrderId: same, Step: "stop", Generation: 1},
		"another generation": {SagaId: same, OrderId: same, Step: "step", Generation: 2},
		"no generation":      {SagaId: same, OrderId: same, Step: "step"},
	} {
		whole := mustMarshal(t, &inventoryv1.ReserveStock{Meta: meta})
		slab, stored := key.compactCommand(nil, whole)
		require.Equal(t, whole, stored, name)
		require.Empty(t, slab, name)
		whole = mustMarshal(t, &sagav1.Reply{
			SagaId: meta.GetSagaId(), OrderId: meta.GetOrderId(), Step: meta.GetStep(), Generation: meta.GetGeneration(),
		})
		_, stored = key.compactReply(nil, whole)
		require.Equal(t, whole, stored, name)
	}
}

// A form that this build does not know is an error and no guess.
func TestCompact_unknown_form(t *testing.T) {
	t.Parallel()
	row := &storedRow{reply: []byte{1, 2, 3}}
	require.Error(t, row.readReply(&sagav1.Reply{}))
	require.Error(t, row.readCommand([]byte{1}, &inventoryv1.ReserveStock{}))
	require.ErrorContains(t, row.readCommand([]byte{0}, &inventoryv1.ReserveStock{}), "meta is missing")
}

func mustMarshal(t require.TestingT, m proto.Message) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return raw
}
