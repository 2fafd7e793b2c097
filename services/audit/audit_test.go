package audit_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/service"
	auditapi "recourse.dev/schemas/gen/api/audit"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	"recourse.dev/services/audit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("internal/poll.runtime_pollWait")) // http.DefaultClient keeps connections
}

// entry is a line of a provider's ledger.
type entry map[string]any

// world is everything that an audit reads; each test changes one thing of one in which everything adds up.
type world struct {
	completed, cancelled coordinatorapi.Order
	reservations         []inventoryapi.Reservation
	total                inventoryapi.Total
	payments             paymentapi.Totals
	gateway, carrier     []entry
	// away answers 503 for every path with this prefix.
	away string
}

func newWorld() *world {
	line := func(order *coordinatorapi.Order, state string, shipped int64) inventoryapi.Reservation {
		return inventoryapi.Reservation{
			ReservationID: uuid.New(), OrderID: order.ID, State: inventoryapi.ReservationState(state),
			Lines: []inventoryapi.ReservationLine{{Sku: "MUG", Quantity: 2, Shipped: shipped, Released: 2 - shipped}},
		}
	}
	w := &world{}
	for _, o := range []*coordinatorapi.Order{&w.completed, &w.cancelled} {
		o.ID, o.Currency, o.TotalMinor = uuid.New(), "EUR", 500
		o.Lines = []coordinatorapi.OrderLine{{Sku: "MUG", Quantity: 2, UnitPriceMinor: 250}}
	}
	w.completed.Status, w.cancelled.Status = coordinatorapi.OrderStatusCompleted, coordinatorapi.OrderStatusCancelled
	w.reservations = []inventoryapi.Reservation{line(&w.completed, "consumed", 2), line(&w.cancelled, "released", 0)}
	w.total = inventoryapi.Total{Sku: "MUG", Agree: true}
	w.total.Ledger.Received, w.total.Ledger.Shipped, w.total.Levels.OnHand = 10, 2, 8
	books := `{"currencies":[{"currency":"EUR","intents":{"captured":500},"journal":{"captured":500}}]}`
	if err := json.Unmarshal([]byte(books), &w.payments); err != nil {
		panic(err)
	}
	done, undone := w.completed.ID.String(), w.cancelled.ID.String()
	w.gateway = []entry{
		{"kind": "authorize", "order_id": done, "amount": 500, "currency": "EUR"},
		{"kind": "capture", "order_id": done, "amount": 500, "currency": "EUR"},
		{"kind": "authorize", "order_id": undone, "amount": 500, "currency": "EUR"},
		{"kind": "void", "order_id": undone, "amount": 500, "currency": "EUR"},
	}
	// Shipments have the ids of their orders here.
	w.carrier = []entry{
		{"kind": "label_bought", "reference": done},
		{"kind": "label_bought", "reference": undone},
		{"kind": "label_refunded", "reference": undone},
	}
	return w
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if w.away != "" && strings.HasPrefix(r.URL.Path, w.away) {
		http.Error(out, "away", http.StatusServiceUnavailable)
		return
	}
	orders := map[string]coordinatorapi.Order{w.completed.ID.String(): w.completed, w.cancelled.ID.String(): w.cancelled}
	var answer any
	switch path := r.URL.Path; path {
	case "/coordinator/v1/orders":
		next := "more" // two pages
		page := coordinatorapi.OrderPage{Orders: []coordinatorapi.OrderSummary{{ID: w.completed.ID}}, NextCursor: &next}
		if r.URL.Query().Get("cursor") == next {
			page = coordinatorapi.OrderPage{Orders: []coordinatorapi.OrderSummary{{ID: w.cancelled.ID}}}
		}
		answer = page
	case "/inventory/v1/totals":
		answer = inventoryapi.TotalPage{Totals: []inventoryapi.Total{w.total}}
	case "/inventory/v1/reservations":
		answer = inventoryapi.ReservationPage{Reservations: w.reservations}
	case "/payment/v1/totals":
		answer = w.payments
	case "/shipping/v1/shipments":
		page := shippingapi.ShipmentPage{}
		for _, o := range orders {
			page.Shipments = append(page.Shipments, shippingapi.ShipmentSummary{ShipmentID: o.ID, OrderID: o.ID})
		}
		answer = page
	case "/gateway/admin/ledger":
		answer = w.gateway
	case "/carrier/admin/ledger":
		answer = w.carrier
	default:
		answer = orders[strings.TrimPrefix(path, "/coordinator/v1/orders/")]
	}
	_ = json.NewEncoder(out).Encode(answer)
}

func (w *world) serve(t *testing.T) audit.System {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	at := func(name string) string { return server.URL + "/" + name }
	return audit.System{
		Coordinator: at("coordinator"), Inventory: at("inventory"), Payment: at("payment"), Shipping: at("shipping"),
		Gateway: at("gateway"), Carrier: at("carrier"),
	}
}

func TestConservation_adds_up(t *testing.T) {
	t.Parallel()
	r, err := audit.Conservation(t.Context(), newWorld().serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.True(t, r.AddsUp)
	require.Equal(t, 2, r.Orders)
	require.Zero(t, r.Open)
	require.Equal(t, map[string]int{"completed": 1, "cancelled": 1}, r.ByStatus)
	require.Equal(t, []auditapi.SKUBalance{
		{Sku: "MUG", In: 10, Shipped: 2, OrderedLeast: 2, OrderedMost: 2, OnHand: 8, AddsUp: true},
	}, r.Skus)
	require.Equal(t, []auditapi.CurrencyBalance{
		{Currency: "EUR", Charged: 500, Booked: 500, OrderedLeast: 500, OrderedMost: 500, AddsUp: true},
	}, r.Currencies)
	require.Equal(t, 1, r.LabelsLive)
}

// Every kind of difference is found, and said of the right order.
func TestConservation_names_the_order(t *testing.T) {
	t.Parallel()
	const completed, cancelled, nobody = "completed", "cancelled", ""
	for _, tt := range []struct {
		name   string
		damage func(w *world)
		list   func(r *audit.Report) []audit.Finding
		order  string
		what   string
	}{
		{"charged twice", func(w *world) { w.gateway = append(w.gateway, w.gateway[1]) }, doubled, completed, "captured 2 times"},
		{"blocked twice", func(w *world) { w.gateway = append(w.gateway, w.gateway[0]) }, doubled, completed, "authorized 2 times"},
		{"two labels", func(w *world) { w.carrier = append(w.carrier, w.carrier[0]) }, doubled, completed, "2 labels bought"},
		{"never charged", func(w *world) { w.gateway = w.gateway[:1] }, missing, completed, "captured 0 of 500"},
		{"no label", func(w *world) { w.carrier = nil }, missing, completed, "0 live labels"},
		{"still blocked", func(w *world) { w.gateway = w.gateway[:3] }, held, cancelled, "blocks 500"},
		{"label not voided", func(w *world) { w.carrier = w.carrier[:2] }, held, cancelled, "1 live labels"},
		{"still reserved", func(w *world) { w.reservations[1].Lines[0].Open = 2 }, held, cancelled, "reserves 2"},
		{"nobody's money", func(w *world) {
			w.gateway = append(w.gateway, entry{"kind": "authorize", "order_id": "stranger", "amount": 1, "currency": "EUR"})
		}, held, "stranger", "does not have"},
		{"goods of a cancelled order left", func(w *world) { w.reservations[1].Lines[0].Shipped = 2 }, stock, cancelled, "2 units of MUG left the stock, not 0"},
		{"goods of a completed order stayed", func(w *world) { w.reservations[0].Lines[0].Shipped = 0 }, stock, completed, "0 units of MUG left the stock, not 2"},
		{"goods left without an order", func(w *world) { w.total.Ledger.Shipped = 3 }, stock, nobody, "3 units left the stock"},
		{"reserved for nobody", func(w *world) { w.total.Levels.Reserved = 1 }, stock, nobody, "1 units are reserved"},
		{"torn stock books", func(w *world) { w.total.Agree = false }, stock, nobody, "do not agree"},
		{"torn payment books", func(w *world) { w.payments.Currencies[0].Journal.Captured = 1 }, money, nobody, "differ"},
		{"payment service wrong", func(w *world) {
			w.payments.Currencies[0].Intents.Captured, w.payments.Currencies[0].Journal.Captured = 1, 1
		}, money, nobody, "the payment service says 1"},
		{"charged beside the orders", func(w *world) {
			w.gateway = append(w.gateway, entry{"kind": "capture", "order_id": "stranger", "amount": 1, "currency": "USD"})
		}, money, nobody, "USD: the gateway charged 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			tt.damage(w)
			order := map[string]string{completed: w.completed.ID.String(), cancelled: w.cancelled.ID.String()}[tt.order]
			if order == "" {
				order = tt.order
			}
			r, err := audit.Conservation(t.Context(), w.serve(t))
			require.NoError(t, err)
			require.False(t, r.AddsUp)
			found := false
			for _, f := range tt.list(r) {
				found = found || f.Order == order && strings.Contains(f.What, tt.what)
			}
			require.True(t, found, "%+v", r.Findings())
		})
	}
}

func doubled(r *audit.Report) []audit.Finding { return r.Doubled }
func missing(r *audit.Report) []audit.Finding { return r.Missing }
func held(r *audit.Report) []audit.Finding    { return r.HeldAfterUndo }
func stock(r *audit.Report) []audit.Finding   { return r.Stock }
func money(r *audit.Report) []audit.Finding   { return r.Money }

// What an open order holds is in flight, and no difference.
func TestConservation_allows_for_open_orders(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.completed.Status = coordinatorapi.OrderStatusProcessing
	w.cancelled.Status = coordinatorapi.OrderStatusCancelling
	w.gateway = w.gateway[:3]
	w.reservations[1].Lines[0].Open = 2
	w.total.Levels.Reserved = 2
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.Equal(t, 2, r.Open)
}

func TestService(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.away = "/carrier"
	system := w.serve(t)
	config := audit.Config{
		Settings:       service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 5 * time.Second},
		CoordinatorURL: system.Coordinator, InventoryURL: system.Inventory, PaymentURL: system.Payment,
		ShippingURL: system.Shipping, GatewayURL: system.Gateway, CarrierURL: system.Carrier,
		Every: time.Hour, Timeout: 10 * time.Second,
	}
	s, err := audit.New(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	where := "http://" + s.Addr()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, <-ended) })

	ask := func(t require.TestingT, method, path string) (int, string) {
		req, err := http.NewRequest(method, where+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, string(body)
	}
	const path = "/v1/audits/conservation"
	status, body := ask(t, http.MethodPost, path)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "/carrier/admin/ledger")
	status, body = ask(t, http.MethodGet, path)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "No audit has ended yet")

	w.away = "" // nobody asks in between
	status, body = ask(t, http.MethodPost, path)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"adds_up":true`)
	status, _ = ask(t, http.MethodGet, path)
	require.Equal(t, http.StatusOK, status)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, body = ask(c, http.MethodGet, "/metrics")
		require.Contains(c, body, `recourse_audit_differences{kind="money"} 0`)
	}, 5*time.Second, 20*time.Millisecond)
	require.Contains(t, body, `recourse_audit_audits_total{outcome="failed"}`)
}

func TestConfig_names_what_is_wrong(t *testing.T) {
	t.Parallel()
	config := audit.Config{CoordinatorURL: "coordinator:8080", Every: time.Millisecond}
	err := config.Validate()
	require.ErrorContains(t, err, "COORDINATOR_URL=coordinator:8080")
	require.ErrorContains(t, err, "CARRIER_URL=")
	require.ErrorContains(t, err, "AUDIT_EVERY=1ms")
	require.ErrorContains(t, err, "AUDIT_TIMEOUT=0s")
}
