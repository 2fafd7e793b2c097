package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// released holds the hash of every definition that orders may have begun with. A definition that is changed in place
// gets another hash, and no coordinator would work on the open orders of the old one any more: add a version instead.
var released = map[string]string{
	"order.fulfilment/1": "01a325944396e5d4",
}

func TestDefinitions_ReleasedOnesAreUnchanged(t *testing.T) {
	t.Parallel()
	have := map[string]string{}
	for _, d := range mustDefinitions(t) {
		version := fmt.Sprintf("%s/%d", d.Name(), d.Version())
		require.NotContains(t, have, version, "two definitions of one version")
		have[version] = d.Hash().String()
	}
	require.Equal(t, released, have)
}

func TestDefinitions_NewOrdersTakeTheFirst(t *testing.T) {
	t.Parallel()
	list := mustDefinitions(t)
	current, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	require.Equal(t, current.Hash(), list[0].Hash())
	for _, d := range list[1:] {
		if d.Name() == current.Name() {
			require.Less(t, d.Version(), current.Version())
		}
	}
}

func TestParticipants_AreThoseOfAllVersions(t *testing.T) {
	t.Parallel()
	list := mustDefinitions(t)
	other := saga.MustDefine("order.other", 1, time.Minute, saga.Stage{{
		Name: "wrap_gift", Participant: "giftwrap", Kind: saga.Compensatable, Do: "do", Undo: "undo", Retry: saga.DefaultRetry,
	}})
	require.Equal(t, []string{"giftwrap", "inventory", "notification", "payment", "shipping"},
		order.Participants(append(list, other)))
}

// A command without a builder would be found out by the first order that comes to its step.
func TestCommand_IsBuiltForEveryStep(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, d := range mustDefinitions(t) {
		id := uuid.New()
		s := saga.New(d, id, id)
		for i, step := range d.Steps() {
			for op, name := range map[saga.Op]string{saga.OpDo: step.Do, saga.OpUndo: step.Undo} {
				if name == "" {
					continue
				}
				m, err := order.Command(d, &s, &orderv1.Order{}, saga.Action{
					Kind: saga.Send, Step: i, Op: op, Generation: 3, Attempt: 2,
				}, now)
				require.NoError(t, err)
				require.Equal(t, name, string(m.ProtoReflect().Descriptor().FullName()))
				command, ok := m.(interface{ GetMeta() *sagav1.CommandMeta })
				require.True(t, ok, "%s carries no meta", name)
				meta := command.GetMeta()
				require.Equal(t, id.String(), meta.GetSagaId())
				require.Equal(t, step.Name, meta.GetStep())
				require.Equal(t, uint32(3), meta.GetGeneration())
				require.Equal(t, uint32(2), meta.GetAttempt())
				require.Equal(t, sagav1.Operation(op), meta.GetOperation())
			}
		}
	}
}

func mustDefinitions(t *testing.T) []*saga.Definition {
	t.Helper()
	list, err := order.Definitions(order.DefaultTiming)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list
}
