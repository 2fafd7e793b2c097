package order

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/saga"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
)

// HoldMargin is how long stock stays reserved after the order's deadline: time
// for the way back, and for a pivot that was in flight when the deadline passed.
const HoldMargin = 30 * time.Minute

// source is what a command is made of.
type source struct {
	d    *saga.Definition
	s    *saga.Saga
	o    *orderv1.Order
	meta *sagav1.CommandMeta
}

// builders make the commands, by the full message name that the definition gives.
var builders = map[string]func(source) proto.Message{
	"recourse.inventory.v1.ReserveStock":        reserveStock,
	"recourse.inventory.v1.ReleaseStock":        releaseStock,
	"recourse.inventory.v1.CommitStock":         commitStock,
	"recourse.payment.v1.AuthorizePayment":      authorizePayment,
	"recourse.payment.v1.VoidAuthorization":     voidAuthorization,
	"recourse.payment.v1.CapturePayment":        capturePayment,
	"recourse.shipping.v1.CreateShipment":       createShipment,
	"recourse.shipping.v1.CancelShipment":       cancelShipment,
	"recourse.notification.v1.SendConfirmation": sendConfirmation,
}

// Command builds the message of a Send action from the order and from what the
// saga's earlier steps brought back. now is the instant of the transaction.
func Command(
	d *saga.Definition, s *saga.Saga, o *orderv1.Order, a saga.Action, now time.Time,
) (proto.Message, error) {
	step := d.Steps()[a.Step]
	name, op := step.Do, sagav1.Operation_OPERATION_DO
	if a.Op == saga.OpUndo {
		name, op = step.Undo, sagav1.Operation_OPERATION_UNDO
	}
	build, ok := builders[name]
	if !ok {
		return nil, fmt.Errorf("step %s of %s: no builder for command %q; add one in coordinator/order/command.go",
			step.Name, d.Name(), name)
	}
	return build(source{d: d, s: s, o: o, meta: &sagav1.CommandMeta{
		SagaId: s.ID.String(), OrderId: s.OrderID.String(), Step: step.Name, Generation: a.Generation,
		Operation: op, Attempt: a.Attempt, IssuedAt: timestamppb.New(now),
	}}), nil
}

// handle finds what a step brought back, for example its tracking number.
func (c source) handle(step, name string) string {
	i, ok := c.d.Index(step)
	if !ok {
		return ""
	}
	return c.s.Steps[i].Handles[name]
}

// reason tells a participant's operator why an effect is taken back.
func (c source) reason() string {
	if c.s.CauseDetail == "" || c.s.Cause == saga.CauseDeadline {
		return c.s.Cause.String()
	}
	return c.s.Cause.String() + ": " + c.s.CauseDetail
}

func reserveStock(c source) proto.Message {
	deadline := c.s.Deadline
	if deadline.IsZero() {
		deadline = c.s.CreatedAt.Add(c.d.Deadline())
	}
	m := &inventoryv1.ReserveStock{
		Meta: c.meta, ExpiresAt: timestamppb.New(deadline.Add(HoldMargin)), ShipToCountry: c.o.GetShipTo().GetCountry(),
	}
	for _, l := range c.o.GetLines() {
		m.Lines = append(m.Lines, &inventoryv1.StockLine{LineId: l.GetLineId(), Sku: l.GetSku(), Quantity: l.GetQuantity()})
	}
	return m
}

func releaseStock(c source) proto.Message {
	return &inventoryv1.ReleaseStock{Meta: c.meta, Reason: c.reason()}
}

func commitStock(c source) proto.Message { return &inventoryv1.CommitStock{Meta: c.meta} }

func authorizePayment(c source) proto.Message {
	return &paymentv1.AuthorizePayment{
		Meta: c.meta, AmountMinor: c.o.GetTotalMinor(), Currency: c.o.GetCurrency(),
		PaymentToken: c.o.GetPaymentToken(), CustomerId: c.o.GetCustomerId(), Reference: c.o.GetReference(),
	}
}

func voidAuthorization(c source) proto.Message {
	return &paymentv1.VoidAuthorization{Meta: c.meta, Reason: c.reason()}
}

func capturePayment(c source) proto.Message {
	return &paymentv1.CapturePayment{Meta: c.meta, AmountMinor: c.o.GetTotalMinor(), Currency: c.o.GetCurrency()}
}

func createShipment(c source) proto.Message {
	m := &shippingv1.CreateShipment{Meta: c.meta, ShipTo: c.o.GetShipTo(), Reference: c.o.GetReference()}
	for _, l := range c.o.GetLines() {
		m.Items = append(m.Items, &shippingv1.ShipmentItem{LineId: l.GetLineId(), Sku: l.GetSku(), Quantity: l.GetQuantity()})
	}
	return m
}

func cancelShipment(c source) proto.Message {
	return &shippingv1.CancelShipment{Meta: c.meta, Reason: c.reason()}
}

func sendConfirmation(c source) proto.Message {
	to := c.o.GetBillTo()
	if to.GetEmail() == "" {
		to = c.o.GetShipTo()
	}
	return &notificationv1.SendConfirmation{
		Meta: c.meta, Email: to.GetEmail(), Name: to.GetName(), Locale: c.o.GetLocale(),
		Reference: c.o.GetReference(), Lines: c.o.GetLines(),
		Total:          &orderv1.Money{Minor: c.o.GetTotalMinor(), Currency: c.o.GetCurrency()},
		TrackingNumber: c.handle("create_shipment", "tracking_number"),
		Carrier:        c.handle("create_shipment", "carrier"),
	}
}
