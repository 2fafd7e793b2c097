package workertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"recourse.dev/pkg/worker"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

const (
	lettersSQL = `SELECT count(*) FROM dead_letter`
	// openSQL counts the effects of a saga that wait for an outside answer.
	openSQL = `SELECT count(*) FROM step WHERE saga_id = $1 AND next_probe_at IS NOT NULL`
)

// FuzzCommands sends commands with arbitrary content, and then the undo of each, to a participant on a real database.
// Whatever they say, each is answered or parked, the batch that brought it is not held up, and no question is left over
// that nobody will ask again.
//
// The inputs are the number of a seed and the bytes of a command of its type; the meta is made sound, so that the
// content comes to the handler. undo makes the undo of a do, or is nil for those that have none. kit makes the
// participant; it is called for every input, over the same database.
func FuzzCommands(
	f *testing.F, kit func(t *testing.T) *Kit, undo func(do worker.Input) worker.Input, seeds ...worker.Input,
) {
	f.Helper()
	for i, seed := range seeds {
		value, err := proto.Marshal(seed)
		require.NoError(f, err)
		f.Add(uint8(i), value)
	}
	f.Fuzz(func(t *testing.T, number uint8, value []byte) {
		command, ok := seeds[int(number)%len(seeds)].ProtoReflect().New().Interface().(worker.Input)
		require.True(t, ok)
		if err := proto.Unmarshal(value, command); err != nil {
			t.Skip("no bytes of this type")
		}
		meta := Meta(seeds[int(number)%len(seeds)].GetMeta().GetStep())
		setMeta(command, meta)
		k := kit(t)
		k.answeredOrParked(t, command, meta)
		if undo == nil {
			return
		}
		if back := undo(command); back != nil {
			setMeta(back, UndoMeta(meta))
			k.answeredOrParked(t, back, meta)
		}
	})
}

// answeredOrParked sends one command and requires that something came of it.
func (k *Kit) answeredOrParked(t *testing.T, command worker.Input, meta *sagav1.CommandMeta) {
	t.Helper()
	count := func(sql string, args ...any) (n int) {
		require.NoError(t, k.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
		return n
	}
	before := count(lettersSQL)
	started := time.Now()
	replies := k.Send(t, command)
	require.Less(t, time.Since(started), time.Minute)
	parked := count(lettersSQL) - before
	require.NotEqual(t, len(replies) > 0, parked > 0, "%d replies and %d letters for %v", len(replies), parked, command)
	if parked > 0 {
		return
	}
	for _, reply := range replies {
		require.Equal(t, meta.GetSagaId(), reply.GetSagaId())
		if reply.GetInDoubt() != nil {
			require.Positive(t, count(openSQL, meta.GetSagaId()), "in doubt, and nobody asks: %v", reply)
		}
	}
}

// setMeta puts the meta into field 1, where every command has it.
func setMeta(command worker.Input, meta *sagav1.CommandMeta) {
	message := command.ProtoReflect()
	field := message.Descriptor().Fields().ByNumber(1)
	message.Set(field, protoreflect.ValueOfMessage(meta.ProtoReflect()))
}
