package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
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

func mustDefinitions(t *testing.T) []*saga.Definition {
	t.Helper()
	list, err := order.Definitions(order.DefaultTiming)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list
}
