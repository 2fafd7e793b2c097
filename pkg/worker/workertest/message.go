package workertest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/pkg/worker"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Meta is the meta of the first do of a step, for a new saga of a new order.
func Meta(step string) *sagav1.CommandMeta {
	return &sagav1.CommandMeta{
		SagaId:     uuid.Must(uuid.NewV7()).String(),
		OrderId:    uuid.Must(uuid.NewV7()).String(),
		Step:       step,
		Generation: 1,
		Operation:  worker.OpDo,
		Attempt:    1,
		IssuedAt:   timestamppb.Now(),
	}
}

// UndoMeta is the meta of the undo of a do.
func UndoMeta(do *sagav1.CommandMeta) *sagav1.CommandMeta {
	meta := proto.CloneOf(do)
	meta.Operation = worker.OpUndo
	return meta
}

// StepMeta is the meta of another step of the same saga.
func StepMeta(meta *sagav1.CommandMeta, step string) *sagav1.CommandMeta {
	next := proto.CloneOf(meta)
	next.Step = step
	next.Operation = worker.OpDo
	return next
}

// Again is the same command, sent once more: the attempt is one higher.
func Again[T worker.Input](t testing.TB, command T) T {
	t.Helper()
	again, ok := proto.Clone(command).(T)
	require.True(t, ok)
	again.GetMeta().Attempt++
	return again
}
