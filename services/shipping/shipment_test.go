package shipping_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
	"recourse.dev/services/shipping"
)

func TestSettlements_answer_every_pair(t *testing.T) {
	t.Parallel()
	table := shipping.Settlements()
	require.Len(t, table, 2)
	for kind, row := range table {
		require.Len(t, row, 3, kind)
		for found, to := range row {
			require.Contains(t, shipping.OperationStates(), shipping.OperationState(to[0]), "%s %s", kind, found)
			require.Contains(t, shipping.LabelStates(), shipping.LabelState(to[1]), "%s %s", kind, found)
			require.Contains(t, shipping.States(), shipping.State(to[2]), "%s %s", kind, found)
		}
		require.Equal(t, string(shipping.OperationUnknown), row["unknown"][0], "no answer is never a failure")
	}
}

func TestShipmentID(t *testing.T) {
	t.Parallel()
	older, newer := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	newer[0]++
	id := shipping.ShipmentID(older, "a:create_shipment:1")
	require.Equal(t, id, shipping.ShipmentID(older, "a:create_shipment:1"), "the same after a crash")
	require.NotEqual(t, id, shipping.ShipmentID(older, "a:create_shipment:2"))
	require.Equal(t, uuid.Version(8), id.Version())
	require.Equal(t, uuid.RFC4122, id.Variant())
	require.Less(t, id.String(), shipping.ShipmentID(newer, "b:create_shipment:1").String(), "in the order of time")
}

func TestPack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quantities := rapid.SliceOfN(rapid.Int64Range(1, 1<<30), 1, 20).Draw(t, "quantities")
		var units int64
		items := make([]*shippingv1.ShipmentItem, len(quantities))
		for i, q := range quantities {
			units += q
			items[i] = &shippingv1.ShipmentItem{LineId: uuid.NewString(), Sku: "MUG", Quantity: q}
		}
		packed, weight, why := shipping.Pack(items, 500)
		if why != "" {
			t.Fatalf("refused: %s", why)
		}
		if len(packed) != len(items) || weight != units*500 {
			t.Fatalf("%d items of %d g from %d items of %d units", len(packed), weight, len(items), units)
		}
	})
}

func TestCheckAddress_names_the_field(t *testing.T) {
	t.Parallel()
	require.Empty(t, shipping.CheckAddress(address()))
	require.Contains(t, shipping.CheckAddress(nil), "no shipping address")
	a := address()
	a.City = "  "
	require.Contains(t, shipping.CheckAddress(a), "ship_to/city")
	a = address()
	a.Country = "de"
	require.Contains(t, shipping.CheckAddress(a), `"de" is not an ISO 3166-1`)
}

func TestWeightOunces(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0.1, shipping.WeightOunces(1), 1e-9)
	require.InDelta(t, 17.7, shipping.WeightOunces(500), 1e-9)
	require.InDelta(t, 35.3, shipping.WeightOunces(1000), 1e-9)
}
