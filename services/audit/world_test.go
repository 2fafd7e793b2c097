package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	"recourse.dev/services/audit"
)

// entry is a line of a provider's ledger.
type entry map[string]any

// world is everything that an audit reads; each test changes one thing of one in which everything adds up. Every page
// of orders and of shipments has one of them, so that the spans of one audit must fit together.
type world struct {
	orders       []coordinatorapi.BookEntry
	reservations []inventoryapi.BookEntry
	payments     []paymentapi.BookEntry
	books        []shippingapi.BookEntry
	shipments    []shippingapi.ShipmentSummary
	total        inventoryapi.Total
	untracked    bool
	gateway      []entry
	carrier      []entry
	// away answers 503 for every path with this prefix.
	away string
	// requests are the paths that were asked for, with their queries.
	requests []string
	// onRequest runs before a request is answered.
	onRequest func(path string)
}

// completed and cancelled are the places of the two orders.
const completed, cancelled = 0, 1

func newWorld() *world {
	w := &world{total: inventoryapi.Total{Sku: "MUG", Agree: true}}
	w.total.Ledger.Received, w.total.Ledger.Shipped, w.total.Reservations.Shipped = 10, 2, 2
	w.total.Levels.OnHand, w.total.Ledger.OnHand = 8, 8
	for _, status := range []coordinatorapi.OrderStatus{coordinatorapi.OrderStatusCompleted, coordinatorapi.OrderStatusCancelled} {
		w.add(status)
	}
	return w
}

// add gives the world one more order that has ended, with all that there is of it.
func (w *world) add(status coordinatorapi.OrderStatus) {
	id, shipment := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	money := paymentapi.MoneyTotals{Authorized: 500, Captured: 500}
	parcel, live, shipped, last := shippingapi.ShipmentStateLabelled, int64(1), int64(2), "capture"
	reservation := inventoryapi.Consumed
	if status == coordinatorapi.OrderStatusCancelled {
		money = paymentapi.MoneyTotals{Authorized: 500, Voided: 500}
		parcel, live, shipped, last = shippingapi.ShipmentStateCancelled, 0, 0, "void"
		reservation = inventoryapi.Released
	}
	w.orders = append(w.orders, coordinatorapi.BookEntry{
		OrderID: id, Status: status, Currency: "EUR", TotalMinor: 500,
		Lines: []coordinatorapi.BookLine{{Sku: "MUG", Quantity: 2}},
	})
	w.reservations = append(w.reservations, inventoryapi.BookEntry{
		OrderID: id, ReservationID: uuid.New(), State: reservation,
		Skus: []inventoryapi.BookSku{{Sku: "MUG", Shipped: shipped, LedgerShipped: shipped}},
	})
	w.payments = append(w.payments, paymentapi.BookEntry{
		OrderID: id, IntentID: uuid.New(), Currency: "EUR", Intent: money, Journal: money,
	})
	w.books = append(w.books, shippingapi.BookEntry{
		OrderID: id, ShipmentID: shipment, State: parcel, LabelsBought: 1, LabelsLive: live,
	})
	w.shipments = slices.Insert(w.shipments, 0, shippingapi.ShipmentSummary{ShipmentID: shipment, OrderID: id, State: parcel})
	w.gateway = append(w.gateway,
		entry{"kind": "authorize", "order_id": id.String(), "amount": 500, "currency": "EUR"},
		entry{"kind": last, "order_id": id.String(), "amount": 500, "currency": "EUR"})
	w.carrier = append(w.carrier, entry{"kind": "label_bought", "reference": shipment.String()})
	if live == 0 {
		w.carrier = append(w.carrier, entry{"kind": "label_refunded", "reference": shipment.String()})
	}
}

// id is the name of an order.
func (w *world) id(order int) string { return w.orders[order].OrderID.String() }

// between are the members that a request asks for.
func between[T any](all []T, q url.Values, after, upto string, name func(T) string) []T {
	return slices.DeleteFunc(slices.Clone(all), func(one T) bool {
		n := name(one)
		return q.Get(after) != "" && n <= q.Get(after) || q.Get(upto) != "" && n > q.Get(upto)
	})
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.requests = append(w.requests, r.URL.RequestURI())
	if w.onRequest != nil {
		w.onRequest(r.URL.Path)
	}
	if w.away != "" && strings.HasPrefix(r.URL.Path, w.away) {
		http.Error(out, "away", http.StatusServiceUnavailable)
		return
	}
	answer := w.answer(r.URL)
	if answer == nil {
		http.NotFound(out, r)
		return
	}
	_ = json.NewEncoder(out).Encode(answer)
}

func (w *world) answer(u *url.URL) any {
	q := u.Query()
	ordersOf := func(q url.Values) []coordinatorapi.BookEntry {
		return between(w.orders, q, "after_order", "to_order", func(o coordinatorapi.BookEntry) string { return o.OrderID.String() })
	}
	switch u.Path {
	case "/coordinator/v1/books":
		page := coordinatorapi.BookPage{Entries: ordersOf(q)}
		if len(page.Entries) > 0 {
			page.Entries = page.Entries[:1]
			page.NextAfter = &page.Entries[0].OrderID
		}
		return page
	case "/inventory/v1/books":
		return inventoryapi.BookPage{Entries: between(w.reservations, q, "after_order", "to_order",
			func(b inventoryapi.BookEntry) string { return b.OrderID.String() })}
	case "/payment/v1/books":
		return paymentapi.BookPage{Entries: between(w.payments, q, "after_order", "to_order",
			func(b paymentapi.BookEntry) string { return b.OrderID.String() })}
	case "/shipping/v1/books":
		return shippingapi.BookPage{Entries: between(w.books, q, "after_order", "to_order",
			func(b shippingapi.BookEntry) string { return b.OrderID.String() })}
	case "/shipping/v1/shipments":
		return w.page(q.Get("cursor"))
	case "/inventory/v1/totals":
		return inventoryapi.TotalPage{Totals: []inventoryapi.Total{w.total}}
	case "/inventory/v1/items/MUG":
		return inventoryapi.ItemWithLevels{Item: inventoryapi.Item{Sku: "MUG", Tracked: !w.untracked}}
	case "/gateway/admin/ledger":
		return between(w.gateway, q, "after", "to", func(e entry) string { return e["order_id"].(string) })
	case "/carrier/admin/ledger":
		return between(w.carrier, q, "after", "to", func(e entry) string { return e["reference"].(string) })
	}
	for _, o := range w.orders {
		if u.Path == "/coordinator/v1/orders/"+o.OrderID.String() {
			return coordinatorapi.Order{ID: o.OrderID}
		}
	}
	for _, s := range w.shipments {
		if u.Path == "/shipping/v1/shipments/"+s.ShipmentID.String() {
			return shippingapi.Shipment{ShipmentID: s.ShipmentID, State: s.State}
		}
	}
	return nil
}

// page is one shipment, the newest first; its cursor is its name.
func (w *world) page(cursor string) shippingapi.ShipmentPage {
	page := shippingapi.ShipmentPage{Shipments: []shippingapi.ShipmentSummary{}}
	for i, s := range w.shipments {
		if cursor != "" && s.ShipmentID.String() >= cursor {
			continue
		}
		page.Shipments = append(page.Shipments, s)
		if i < len(w.shipments)-1 {
			next := s.ShipmentID.String()
			page.NextCursor = &next
		}
		break
	}
	return page
}

func (w *world) serve(t *testing.T) audit.System {
	t.Helper()
	server := httptest.NewServer(w.oneAtATime())
	t.Cleanup(server.Close)
	at := func(name string) string { return server.URL + "/" + name }
	return audit.System{
		Coordinator: at("coordinator"), Inventory: at("inventory"), Payment: at("payment"), Shipping: at("shipping"),
		Gateway: at("gateway"), Carrier: at("carrier"),
	}
}

// oneAtATime keeps requests from meeting in the world.
func (w *world) oneAtATime() http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		defer func() { <-turn }()
		w.ServeHTTP(out, r)
	})
}
