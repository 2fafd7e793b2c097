package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// Shop places orders over connections that are kept.
type Shop struct {
	coordinator, inventory *line
}

// NewShop makes one of two servers at http://host:port, with at most so many connections to each.
func NewShop(coordinator, inventory string, connections int) *Shop {
	return &Shop{coordinator: newLine(coordinator, connections), inventory: newLine(inventory, connections)}
}

// Close gives the connections up.
func (s *Shop) Close() {
	s.coordinator.close()
	s.inventory.close()
}

// NewOrder is an order of one line for one customer of a made-up shop.
func NewOrder(reference, sku, token string) coordinatorapi.NewOrder {
	email, postcode := "ada@example.com", "10117"
	return coordinatorapi.NewOrder{
		Shop: "load", CustomerID: "cus_1", Reference: reference, Currency: "EUR", PaymentToken: token, TotalMinor: 1250,
		Lines: []coordinatorapi.OrderLine{{Sku: sku, Quantity: 1, UnitPriceMinor: 1250}},
		ShipTo: coordinatorapi.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: &postcode, Country: "DE",
			Email: &email,
		},
	}
}

// Submit places an order under its reference as key. The id is that of an accepted one; after says when a refused one
// is asked to come back.
func (s *Shop) Submit(ctx context.Context, o coordinatorapi.NewOrder) (id uuid.UUID, outcome Outcome, after time.Duration) {
	a, err := s.coordinator.post(ctx, "/v1/orders", o.Reference, o)
	if err != nil {
		return uuid.Nil, Failed, 0
	}
	switch a.status {
	case http.StatusOK, http.StatusAccepted:
		// The header says it as well as the receipt does, and for less.
		id, err := uuid.Parse(strings.TrimPrefix(a.location, "/v1/orders/"))
		if err != nil {
			return uuid.Nil, Failed, 0
		}
		return id, Accepted, 0
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after, err := time.ParseDuration(a.retryAfter + "s")
		if err != nil || a.status == http.StatusServiceUnavailable {
			return uuid.Nil, Unavailable, after
		}
		return uuid.Nil, Refused, after
	}
	return uuid.Nil, Failed, 0
}

// Cancel asks for a cancellation and says whether it was promised.
func (s *Shop) Cancel(ctx context.Context, id uuid.UUID) bool {
	a, err := s.coordinator.post(ctx, "/v1/orders/"+id.String()+"/cancel", "cancel-"+id.String(), coordinatorapi.CancelRequest{})
	var said coordinatorapi.CancelAnswer
	return err == nil && a.status == http.StatusAccepted && json.Unmarshal(a.body, &said) == nil &&
		said.Answer == coordinatorapi.CancelAnswerAnswerAgreed
}

// Order reads an order.
func (s *Shop) Order(ctx context.Context, id uuid.UUID) (o coordinatorapi.Order, err error) {
	a, err := s.coordinator.call(ctx, http.MethodGet, "/v1/orders/"+id.String(), "", nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if err == nil {
		err = json.Unmarshal(a.body, &o)
	}
	if err != nil {
		return o, fmt.Errorf("reading order %s: %w", id, err)
	}
	return o, nil
}

// Stock puts a million of each SKU on a shelf. Doing it again under the same key does nothing.
func (s *Shop) Stock(ctx context.Context, key string, skus ...string) error {
	return s.Receive(ctx, key, 1_000_000, skus...)
}

// Receive puts so many of each SKU on a shelf. Doing it again under the same key does nothing.
func (s *Shop) Receive(ctx context.Context, key string, quantity int64, skus ...string) error {
	const location = "LOAD-1"
	must := func(path, key string, body any) error {
		a, err := s.inventory.post(ctx, path, key, body)
		if err == nil && a.status >= http.StatusMultipleChoices {
			err = fmt.Errorf("POST %s: status %d: %s", path, a.status, a.body)
		}
		return err
	}
	if err := must("/v1/locations", "", inventoryapi.NewLocation{Code: location, Country: "DE"}); err != nil {
		return fmt.Errorf("receiving stock: %w", err)
	}
	lines := make([]inventoryapi.ReceiptLine, 0, len(skus))
	for _, sku := range skus {
		if err := must("/v1/items", "", inventoryapi.NewItem{Sku: sku}); err != nil {
			return fmt.Errorf("receiving stock: %w", err)
		}
		lines = append(lines, inventoryapi.ReceiptLine{Sku: sku, Location: location, Quantity: quantity})
	}
	if err := must("/v1/stock/receive", key, inventoryapi.Receipt{Lines: lines}); err != nil {
		return fmt.Errorf("receiving stock: %w", err)
	}
	return nil
}
