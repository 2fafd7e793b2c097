package coordinator_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
)

func orderDocument(reference string) *orderv1.Order {
	return &orderv1.Order{
		Shop: "mugs", CustomerId: "ada", Reference: reference, Currency: "EUR", PaymentToken: "tok_visa", TotalMinor: 1250,
		Lines: []*orderv1.Line{{Sku: "SKU-MUG-BLUE", Quantity: 1, UnitPriceMinor: 1250}},
		ShipTo: &orderv1.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: "10117", Country: "DE",
			Email: "ada@example.com",
		},
	}
}

func TestPlace_an_order_and_hear_of_its_end(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	s.world.answer(func(c command) *sagav1.Reply {
		if ship, ok := c.Message.(*shippingv1.CreateShipment); ok && ship.GetReference() == "refused" {
			return refusal("address_not_served")
		}
		return nil
	})
	heard := make(chan coordinator.End, 10)
	var service *coordinator.Service
	n := startNode(t, s.config, func(c *coordinator.Service) {
		service = c
		c.OnEnd(func(ends []coordinator.End) {
			for _, end := range ends {
				heard <- end
			}
		})
	})
	good, err := service.Place(t.Context(), "k1", orderDocument("good"))
	require.NoError(t, err)
	bad, err := service.Place(t.Context(), "k2", orderDocument("refused"))
	require.NoError(t, err)

	again, err := service.Place(t.Context(), "k1", orderDocument("good"))
	require.NoError(t, err)
	require.Equal(t, good, again, "one key is one order")
	_, err = service.Place(t.Context(), "k1", orderDocument("other"))
	require.Error(t, err, "of another order")
	_, err = service.Place(t.Context(), "k3", &orderv1.Order{})
	invalid := &order.InvalidError{}
	require.ErrorAs(t, err, &invalid)

	ends := map[uuid.UUID]bool{}
	for range 2 {
		select {
		case end := <-heard:
			ends[end.Order] = end.Completed
		case <-time.After(waitFor):
			t.Fatal("nobody told of the ends")
		}
	}
	require.Equal(t, map[uuid.UUID]bool{good: true, bad: false}, ends)
	n.awaitStatus(good, "completed")
	n.awaitStatus(bad, "cancelled")
	require.Empty(t, heard)
}

func TestConfig_definitions_in_place_of_the_shipped_ones(t *testing.T) {
	t.Parallel()
	shipped, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	short, err := saga.Define("test.short", 1, time.Minute, saga.Stage{shipped.Steps()[0]})
	require.NoError(t, err)
	s := newSystem(t, quiet, func(c *coordinator.Config) { c.Definitions = []*saga.Definition{short, shipped} })
	var service *coordinator.Service
	n := startNode(t, s.config, func(c *coordinator.Service) { service = c })
	id, err := service.Place(t.Context(), "k1", orderDocument("short"))
	require.NoError(t, err)
	n.awaitStatus(id, "completed")
	require.Equal(t, []string{"reserve_stock/do"}, s.world.commands(id))
}
