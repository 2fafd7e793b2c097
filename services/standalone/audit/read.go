package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
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
	gateway      []gatewaysim.Entry
	carrier      []carriersim.Entry
}

// read takes the providers' ledgers first and the orders last: an order that
// has ended by then had its effects in the ledgers before, or not at all.
func read(ctx context.Context, s System) (*books, error) {
	b := &books{shipments: map[string]string{}}
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
	if b.reservations, err = pages(ctx, s.Inventory+"/v1/reservations?state=held&limit=200",
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
	list, err := pages(ctx, s.Coordinator+"/v1/orders?limit=200",
		func(p coordinatorapi.OrderPage) ([]coordinatorapi.OrderSummary, *string) {
			return p.Orders, p.NextCursor
		})
	if err != nil {
		return nil, err
	}
	b.orders, err = details(ctx, s.Coordinator, list)
	return b, err
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
