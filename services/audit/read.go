package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/google/uuid"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// System is where the interfaces are: base URLs.
type System struct {
	Coordinator, Inventory, Payment, Shipping, Gateway, Carrier string
}

// books is everything that is read before anything is compared.
type books struct {
	orders       []coordinatorapi.Order
	stock        []inventoryapi.Total
	reservations []inventoryapi.Reservation
	payments     paymentapi.Totals
	shipments    map[string]string // our shipment id -> order
	gateway      []movement
	carrier      []label
}

// movement is an entry of the gateway's ledger.
type movement struct {
	Kind     string `json:"kind"`
	OrderID  string `json:"order_id"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// The kinds of movements.
const (
	authorized = "authorize"
	captured   = "capture"
	released   = "release"
	voided     = "void"
	expired    = "expire"
	refunded   = "refund"
)

// label is an entry of the carrier's ledger.
type label struct {
	Kind      string `json:"kind"`
	Reference string `json:"reference"` // our shipment id
}

// The kinds of labels' entries.
const (
	labelBought   = "label_bought"
	labelRefunded = "label_refunded"
)

// read works while orders come and end. The orders are read first: what one that
// has ended by then did and undid is all in the books read afterwards, and the
// others are open, whatever becomes of them meanwhile. Those that came meanwhile
// are read last and are open too.
func read(ctx context.Context, s System) (*books, error) {
	b := &books{shipments: map[string]string{}}
	if err := b.readOrders(ctx, s.Coordinator, false); err != nil {
		return nil, err
	}
	if err := get(ctx, s.Gateway+"/admin/ledger", &b.gateway); err != nil {
		return nil, err
	}
	if err := get(ctx, s.Carrier+"/admin/ledger", &b.carrier); err != nil {
		return nil, err
	}
	if err := get(ctx, s.Payment+"/v1/totals", &b.payments); err != nil {
		return nil, err
	}
	var err error
	if b.stock, err = pages(ctx, s.Inventory+"/v1/totals?limit=200",
		func(p inventoryapi.TotalPage) ([]inventoryapi.Total, *string) { return p.Totals, p.NextCursor }); err != nil {
		return nil, err
	}
	if b.reservations, err = pages(ctx, s.Inventory+"/v1/reservations?limit=200",
		func(p inventoryapi.ReservationPage) ([]inventoryapi.Reservation, *string) {
			return p.Reservations, p.NextCursor
		}); err != nil {
		return nil, err
	}
	shipments, err := pages(ctx, s.Shipping+"/v1/shipments?limit=200",
		func(p shippingapi.ShipmentPage) ([]shippingapi.ShipmentSummary, *string) {
			return p.Shipments, p.NextCursor
		})
	if err != nil {
		return nil, err
	}
	for _, sh := range shipments {
		b.shipments[sh.ShipmentID.String()] = sh.OrderID.String()
	}
	return b, b.readOrders(ctx, s.Coordinator, true)
}

// readOrders adds the orders that are not known yet; late ones are taken for open.
func (b *books) readOrders(ctx context.Context, base string, late bool) error {
	list, err := pages(ctx, base+"/v1/orders?limit=200",
		func(p coordinatorapi.OrderPage) ([]coordinatorapi.OrderSummary, *string) {
			return p.Orders, p.NextCursor
		})
	if err != nil {
		return err
	}
	known := map[uuid.UUID]bool{}
	for i := range b.orders {
		known[b.orders[i].ID] = true
	}
	list = slices.DeleteFunc(list, func(o coordinatorapi.OrderSummary) bool { return known[o.ID] })
	orders, err := details(ctx, base, list)
	if err != nil {
		return err
	}
	for i := range orders {
		if late {
			orders[i].Status = coordinatorapi.OrderStatusProcessing
		}
	}
	b.orders = append(b.orders, orders...)
	return nil
}

// details reads every order, a few at a time.
func details(ctx context.Context, base string, list []coordinatorapi.OrderSummary) ([]coordinatorapi.Order, error) {
	const readers = 8
	out := make([]coordinatorapi.Order, len(list))
	errs := make([]error, readers)
	var wg sync.WaitGroup
	for k := range readers {
		wg.Go(func() {
			for i := k; i < len(list) && errs[k] == nil; i += readers {
				errs[k] = get(ctx, base+"/v1/orders/"+list[i].ID.String(), &out[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func get(ctx context.Context, where string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // only for the message
		return fmt.Errorf("reading %s: status %s: %s", where, resp.Status, text)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	return nil
}

// pages reads a list to its end.
func pages[P, T any](ctx context.Context, where string, open func(P) ([]T, *string)) ([]T, error) {
	var out []T
	cursor := ""
	for {
		var page P
		if err := get(ctx, where+cursor, &page); err != nil {
			return nil, err
		}
		items, next := open(page)
		out = append(out, items...)
		if next == nil || *next == "" {
			return out, nil
		}
		cursor = "&cursor=" + url.QueryEscape(*next)
	}
}
