package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

type assertT = assert.CollectT

func TestOrder_completed(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	receipt := n.submit("k1", newOrder())
	o := n.awaitStatus(receipt.ID, "completed")
	require.EventuallyWithT(t, func(t *assertT) {
		require.Equal(t, []string{
			"reserve_stock/do", "authorize_payment/do", "create_shipment/do", "capture_payment/do", "commit_stock/do",
			"send_confirmation/do",
		}, s.world.commands(receipt.ID))
	}, waitFor, tick)
	require.NotEmpty(t, o.Claims)
	require.Equal(t, "stock_reserved", o.Claims[0].Name)
	require.NotEmpty(t, o.Claims[0].Evidence)

	reserve := s.world.first(receipt.ID, "reserve_stock/do").Message.(*inventoryv1.ReserveStock)
	require.Equal(t, "SKU-MUG-BLUE", reserve.GetLines()[0].GetSku())
	require.Equal(t, "DE", reserve.GetShipToCountry())
	require.Equal(t, o.CreatedAt.Add(s.config.OrderDeadline).Add(holdMargin), reserve.GetExpiresAt().AsTime())
	mail := s.world.first(receipt.ID, "send_confirmation/do").Message.(*notificationv1.SendConfirmation)
	require.Equal(t, "fake", mail.GetCarrier())
	require.NotEmpty(t, mail.GetTrackingNumber())
	require.Equal(t, "ada@example.com", mail.GetEmail())
}

func TestOrder_refused_is_undone(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	s.world.answer(func(c command) *sagav1.Reply {
		if c.key() == "create_shipment/do" {
			return refusal("address_not_served")
		}
		return nil
	})
	n := s.start(t)
	receipt := n.submit("k1", newOrder())
	o := n.awaitStatus(receipt.ID, "cancelled")
	require.Equal(t, []string{
		"reserve_stock/do", "authorize_payment/do", "create_shipment/do", "authorize_payment/undo", "reserve_stock/undo",
	}, s.world.commands(receipt.ID))
	require.Equal(t, "refused", string(o.Cause.Kind))
	require.Equal(t, "address_not_served", *o.Cause.Detail)
	for _, e := range o.Effects {
		require.Equal(t, "released", string(e.State), e.Kind)
	}
}
