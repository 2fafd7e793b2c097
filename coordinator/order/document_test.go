package order_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	notificationv1 "recourse.dev/schemas/gen/recourse/notification/v1"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func validOrder() *orderv1.Order {
	return &orderv1.Order{
		OrderId: "o", Shop: "muglife", CustomerId: "cus_1", Reference: "1001", Currency: "EUR",
		Lines:         []*orderv1.Line{{Sku: "SKU-MUG-BLUE", Quantity: 2, UnitPriceMinor: 1250}},
		ShippingMinor: 490, DiscountMinor: 100, TaxMinor: 10, TotalMinor: 2900, PaymentToken: "tok_visa",
		ShipTo: &orderv1.Address{Name: "Ada", Lines: []string{"Street 1"}, City: "Berlin", Country: "DE", Email: "ada@example.com"},
	}
}

func TestValidate_fills_in(t *testing.T) {
	t.Parallel()
	o := validOrder()
	require.NoError(t, order.Validate(o))
	require.Equal(t, "1", o.GetLines()[0].GetLineId())
	require.Equal(t, "en", o.GetLocale())
	require.Equal(t, "Berlin", o.GetBillTo().GetCity())
}

func TestValidate_refuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(*orderv1.Order)
		pointer string
		code    string
	}{
		{"total", func(o *orderv1.Order) { o.TotalMinor++ }, "/total_minor", "total_mismatch"},
		{"currency", func(o *orderv1.Order) { o.Currency = "XXQ" }, "/currency", "unknown_currency"},
		{"discount negative", func(o *orderv1.Order) { o.DiscountMinor = -1 }, "/discount_minor", "negative_amount"},
		{
			"line overflows", func(o *orderv1.Order) { o.Lines[0].UnitPriceMinor = math.MaxInt64 },
			"/lines/0/unit_price_minor", "amount_overflow",
		},
		{"tax overflows", func(o *orderv1.Order) { o.TaxMinor = math.MaxInt64 }, "/tax_minor", "amount_overflow"},
		{"line id twice", func(o *orderv1.Order) {
			o.Lines = append(o.Lines, &orderv1.Line{LineId: "1", Sku: "SKU-2", Quantity: 1})
		}, "/lines/1/line_id", "duplicate_line_id"},
		{"bidirectional control", func(o *orderv1.Order) { o.Reference = "a\x07" }, "/reference", "invalid_text"},
		{"card", func(o *orderv1.Order) { o.PaymentToken = "5555555555554444" }, "/payment_token", "card_number"},
		{"phone", func(o *orderv1.Order) { o.ShipTo.Phone = "030 123" }, "/ship_to/phone", "invalid_phone"},
		{
			"bill_to", func(o *orderv1.Order) {
				o.BillTo = &orderv1.Address{Name: "x", Lines: []string{"y"}, City: "z", Country: "ZZ"}
			},
			"/bill_to/country", "unknown_country",
		},
		{"named e-mail", func(o *orderv1.Order) { o.ShipTo.Email = "Ada <ada@example.com>" }, "/ship_to/email", "invalid_email"},
		{"locale", func(o *orderv1.Order) { o.Locale = "english!" }, "/locale", "invalid_locale"},
		{"no address", func(o *orderv1.Order) { o.ShipTo = nil }, "/ship_to", "required"},
		{"free", func(o *orderv1.Order) { o.DiscountMinor, o.TotalMinor = 3000, 0 }, "/total_minor", "nothing_to_pay"},
		{"long name", func(o *orderv1.Order) { o.Lines[0].Name = strings.Repeat("x", 201) }, "/lines/0/name", "too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := validOrder()
			tt.change(o)
			invalid, ok := errors.AsType[*order.InvalidError](order.Validate(o))
			require.True(t, ok)
			require.Equal(t, tt.pointer, invalid.Faults[0].Pointer, invalid.Error())
			require.Equal(t, tt.code, invalid.Faults[0].Code)
		})
	}
}

func TestValidate_tokens_of_digits_may_be_tokens(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"123456789012", "tok_4111111111111111", "42"} {
		o := validOrder()
		o.PaymentToken = token
		require.NoError(t, order.Validate(o), token)
	}
}

// Every command of every shipped definition is built, names its step and is a message that participants know.
func TestCommand_every_step(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := validOrder()
	require.NoError(t, order.Validate(o))
	for _, d := range mustDefinitions(t) {
		s := saga.Decide(d, saga.New(d, uuid.New(), uuid.New()), saga.Event{Kind: saga.Accepted}, now).Saga
		for i, step := range d.Steps() {
			for op, name := range map[saga.Op]string{saga.OpDo: step.Do, saga.OpUndo: step.Undo} {
				if name == "" {
					continue
				}
				m := command(t, d, &s, o, saga.Action{Kind: saga.Send, Step: i, Op: op, Generation: 3, Attempt: 2}, now)
				require.Equal(t, protoreflect.FullName(name), m.ProtoReflect().Descriptor().FullName())
				meta := m.(interface{ GetMeta() *sagav1.CommandMeta }).GetMeta()
				require.Equal(t, step.Name, meta.GetStep())
				require.Equal(t, s.ID.String(), meta.GetSagaId())
				require.Equal(t, s.OrderID.String(), meta.GetOrderId())
				require.Equal(t, uint32(3), meta.GetGeneration())
				require.Equal(t, uint32(2), meta.GetAttempt())
				require.Equal(t, sagav1.Operation(op), meta.GetOperation())
				require.Equal(t, now, meta.GetIssuedAt().AsTime())
			}
		}
	}
}

// command builds one behind other bytes and reads it back. It is the message as the generated types encode it.
func command(
	t *testing.T, d *saga.Definition, s *saga.Saga, o *orderv1.Order, a saga.Action, now time.Time,
) proto.Message {
	t.Helper()
	const before = "before"
	name, text, err := order.AppendCommand([]byte(before), d, s, o, a, now)
	require.NoError(t, err)
	body, found := bytes.CutPrefix(text, []byte(before))
	require.True(t, found)
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	require.NoError(t, err)
	m := kind.New().Interface()
	require.NoError(t, proto.Unmarshal(body, m))
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	require.Equal(t, canonical, body)
	return m
}

func TestCommand_holds_stock_beyond_the_deadline(t *testing.T) {
	t.Parallel()
	d, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := saga.Decide(d, saga.New(d, uuid.New(), uuid.New()), saga.Event{Kind: saga.Accepted, At: now.Add(time.Hour)}, now).Saga
	m := command(t, d, &s, validOrder(), saga.Action{Step: 0, Op: saga.OpDo}, now)
	require.Equal(t, now.Add(time.Hour+order.HoldMargin), m.(*inventoryv1.ReserveStock).GetExpiresAt().AsTime())
}

func TestCommand_confirmation_goes_to_who_pays(t *testing.T) {
	t.Parallel()
	d, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(t, err)
	o := validOrder()
	o.BillTo = &orderv1.Address{Name: "Grace", Email: "grace@example.com"}
	s := saga.New(d, uuid.New(), uuid.New())
	shipment, _ := d.Index("create_shipment")
	s.Steps[shipment].Handles = map[string]string{"tracking_number": "T1", "carrier": "C"}
	step, _ := d.Index("send_confirmation")
	m := command(t, d, &s, o, saga.Action{Step: step, Op: saga.OpDo}, time.Now())
	mail := m.(*notificationv1.SendConfirmation)
	require.Equal(t, "grace@example.com", mail.GetEmail())
	require.Equal(t, "T1", mail.GetTrackingNumber())
	require.Equal(t, "C", mail.GetCarrier())
}
