package audit_test

import (
	"io"
	"log/slog"
	"net/http"
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
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	"recourse.dev/services/audit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("internal/poll.runtime_pollWait")) // http.DefaultClient keeps connections
}

func TestConservation_adds_up(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.True(t, r.AddsUp)
	require.Equal(t, 2, r.Orders)
	require.Zero(t, r.Open)
	require.Nil(t, r.Since)
	require.Empty(t, r.NotCompared)
	require.Equal(t, map[string]int{"completed": 1, "cancelled": 1}, r.ByStatus)
	require.Equal(t, []auditapi.SKUBalance{
		{Sku: "MUG", In: 10, Shipped: 2, OrderedLeast: 2, OrderedMost: 2, OnHand: 8, AddsUp: true},
	}, r.Skus)
	charged := int64(500)
	require.Equal(t, []auditapi.CurrencyBalance{
		{Currency: "EUR", Charged: &charged, Booked: 500, OrderedLeast: 500, OrderedMost: 500, AddsUp: true},
	}, r.Currencies)
	require.Equal(t, 1, r.LabelsLive)
	for _, path := range w.requests {
		require.NotContains(t, path, "/v1/orders/", "nothing is asked about a single order")
	}
}

// A real system has no ledger of the gateway or the carrier to read. What the others say is compared all the same.
func TestConservation_does_without_the_providers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.gateway, w.carrier, w.away = nil, nil, "/gateway"
	system := w.serve(t)
	system.Gateway, system.Carrier = "", ""
	r, err := audit.Conservation(t.Context(), system)
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.Equal(t, []auditapi.ReportNotCompared{auditapi.Gateway, auditapi.Carrier}, r.NotCompared)
	require.Equal(t, []auditapi.CurrencyBalance{
		{Currency: "EUR", Booked: 500, OrderedLeast: 500, OrderedMost: 500, AddsUp: true},
	}, r.Currencies)

	w.payments[completed].Intent.Captured, w.payments[completed].Journal.Captured = 400, 400
	w.books[completed].LabelsLive = 0
	r, err = audit.Conservation(t.Context(), system)
	require.NoError(t, err)
	require.Equal(t, []audit.Finding{
		{Order: w.id(completed), What: "completed order: the payment service captured 400 of 500"},
		{Order: w.id(completed), What: "completed order: 0 live labels, by the shipping service"},
	}, r.Missing)
}

// Every kind of difference is found, and said of the right order, while other orders are open.
func TestConservation_names_the_order(t *testing.T) {
	t.Parallel()
	stranger := uuid.Must(uuid.NewV7()).String()
	const nobody = -1
	for _, tt := range []struct {
		name   string
		damage func(w *world)
		list   func(r *audit.Report) []audit.Finding
		order  any
		what   string
	}{
		{"charged twice", func(w *world) { w.gateway = append(w.gateway, w.gateway[1]) }, doubled, completed, "captured 2 times"},
		{"blocked twice", func(w *world) { w.gateway = append(w.gateway, w.gateway[0]) }, doubled, completed, "authorized 2 times"},
		{"two labels", func(w *world) { w.carrier = append(w.carrier, w.carrier[0]) }, doubled, completed, "2 labels bought"},
		{"two labels in our books", func(w *world) { w.books[completed].LabelsBought = 2 }, doubled, completed, "2 labels bought"},
		{"never charged", func(w *world) { w.gateway = w.gateway[2:] }, missing, completed, "captured 0 of 500"},
		{"no label", func(w *world) { w.carrier = w.carrier[1:] }, missing, completed, "the carrier has 0 live labels"},
		{"no label in our books", func(w *world) { w.books[completed].LabelsLive = 0 }, missing, completed, "0 live labels"},
		{"still blocked", func(w *world) { w.gateway = w.gateway[:3] }, held, cancelled, "blocks 500"},
		{"label not voided", func(w *world) { w.carrier = w.carrier[:2] }, held, cancelled, "the carrier has 1 live labels"},
		{"label not voided in our books", func(w *world) { w.books[cancelled].LabelsLive = 1 }, held, cancelled, "1 live labels"},
		{"still reserved", func(w *world) {
			w.reservations[cancelled].Skus[0].Open, w.reservations[cancelled].Skus[0].LedgerOpen = 2, 2
		}, held, cancelled, "reserves 2"},
		{"nobody's money", func(w *world) {
			w.gateway = append(w.gateway, entry{"kind": "authorize", "order_id": "stranger", "amount": 1, "currency": "EUR"})
		}, held, "stranger", "does not have"},
		{"nobody's payment", func(w *world) {
			p := w.payments[cancelled]
			p.OrderID = uuid.MustParse(stranger)
			w.payments = append(w.payments, p)
		}, held, stranger, "1 payments"},
		{"nobody's label", func(w *world) {
			w.carrier = append(w.carrier, entry{"kind": "label_bought", "reference": stranger})
		}, held, "shipment " + stranger, "does not have"},
		{"goods of a cancelled order left", func(w *world) {
			w.reservations[cancelled].Skus[0].Shipped, w.reservations[cancelled].Skus[0].LedgerShipped = 2, 2
		}, stock, cancelled, "2 units of MUG left the stock, not 0"},
		{"goods of a completed order stayed", func(w *world) {
			w.reservations[completed].Skus[0].Shipped, w.reservations[completed].Skus[0].LedgerShipped = 0, 0
		}, stock, completed, "0 units of MUG left the stock, not 2"},
		{"sold and not in the catalogue", func(w *world) { w.orders[completed].Lines[0].Sku = "CUP" }, stock, completed, "0 units of CUP left the stock, not 2"},
		{"goods left and nobody booked them", func(w *world) {
			w.reservations[completed].Skus[0].LedgerShipped = 3
			w.total.Ledger.Shipped, w.total.Agree = 3, false
		}, stock, completed, "says 2 shipped and 0 reserved, and its movements 3 and 0"},
		{"a level that is no sum", func(w *world) { w.total.Levels.OnHand = 9 }, stock, nobody, "MUG: levels, ledger and reservations"},
		{"torn stock books", func(w *world) { w.total.Agree = false }, stock, nobody, "do not agree"},
		{"torn payment books", func(w *world) { w.payments[completed].Journal.Captured = 1 }, money, completed, "differ"},
		{"payment service wrong", func(w *world) {
			w.payments[completed].Intent.Captured, w.payments[completed].Journal.Captured = 1, 1
		}, money, completed, "the gateway charged 500 and blocks 0, the payment service says 1 and 0"},
		{"paid in another currency", func(w *world) { w.payments[completed].Currency = "USD" }, money, completed, "in USD and not in EUR"},
		{"charged in another currency", func(w *world) { w.gateway[1]["currency"] = "USD" }, money, completed, "USD: the gateway charged 500"},
		{"charged beside the orders", func(w *world) {
			w.gateway = append(w.gateway, entry{"kind": "capture", "order_id": stranger, "amount": 1, "currency": "USD"})
		}, money, stranger, "USD: the gateway charged 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			tt.damage(w)
			w.add(coordinatorapi.OrderStatusCompleted) // by itself; it is open as yet
			w.orders[2].Status = coordinatorapi.OrderStatusProcessing
			order, ok := tt.order.(string)
			if place, named := tt.order.(int); !ok && named && place != nobody {
				order = w.id(place)
			}
			r, err := audit.Conservation(t.Context(), w.serve(t))
			require.NoError(t, err)
			require.False(t, r.AddsUp)
			require.Equal(t, 1, r.Open)
			found := false
			for _, f := range tt.list(r) {
				found = found || f.Order == order && strings.Contains(f.What, tt.what)
			}
			require.True(t, found, "%+v", r.Findings())
			for _, f := range r.Findings() {
				require.Equal(t, order, f.Order, "%+v", r.Findings())
			}
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
	w.orders[completed].Status = coordinatorapi.OrderStatusProcessing
	w.orders[cancelled].Status = coordinatorapi.OrderStatusCancelling
	w.gateway = w.gateway[:3]
	w.books[cancelled].LabelsLive, w.shipments[0].State = 1, shippingapi.ShipmentStateCancelling
	w.carrier = w.carrier[:2]
	w.payments[cancelled].Intent = paymentapi.MoneyTotals{Authorized: 500, Held: 500}
	w.payments[cancelled].Journal = w.payments[cancelled].Intent
	w.reservations[cancelled].Skus[0].Open, w.reservations[cancelled].Skus[0].LedgerOpen = 2, 2
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.Equal(t, 2, r.Open)
}

// What has come or changed since its page was read is no difference either.
func TestConservation_allows_for_what_happens_meanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld()
	late := newWorld()
	w.onRequest = func(path string) {
		switch path {
		case "/payment/v1/books":
			if len(w.orders) == 2 { // an order comes with a name below one that was read
				late.orders[completed].OrderID = uuid.MustParse("00000000-0000-7000-8000-000000000000")
				w.payments = append(w.payments, late.payments[completed])
				w.payments[2].OrderID = late.orders[completed].OrderID
				w.orders = append(w.orders, late.orders[completed])
			}
		case "/carrier/admin/ledger": // a label is voided
			w.shipments[0].State = shippingapi.ShipmentStateCancelled
		}
	}
	w.books[cancelled].LabelsLive = 1
	w.orders[cancelled].Status = coordinatorapi.OrderStatusCancelling
	w.shipments[0].State = shippingapi.ShipmentStateLabelled
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.Equal(t, 2, r.Orders)
}

// A gift card has no stock to leave.
func TestConservation_knows_what_has_no_stock(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.untracked = true
	w.reservations = nil
	w.total = newWorld().total
	w.total.Ledger.Shipped, w.total.Reservations.Shipped = 0, 0
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
}

// With a window, older orders and shipments are not read, and nothing of them is a stranger's.
func TestSince(t *testing.T) {
	t.Parallel()
	w := newWorld()
	first := func(id *uuid.UUID) { *id = uuid.UUID{0: 1, 6: id[6], 7: id[7], 8: id[8], 15: id[15]} } // long ago
	first(&w.orders[completed].OrderID)
	first(&w.reservations[completed].OrderID)
	first(&w.payments[completed].OrderID)
	first(&w.books[completed].OrderID)
	first(&w.shipments[1].ShipmentID)
	w.gateway[0]["order_id"], w.gateway[1]["order_id"] = w.id(completed), w.id(completed)
	w.carrier[0]["reference"] = w.shipments[1].ShipmentID.String()
	w.gateway = append(w.gateway, w.gateway[1]) // charged twice, and long ago
	system := w.serve(t)
	r, err := audit.Since(t.Context(), system, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Empty(t, r.Findings())
	require.WithinDuration(t, time.Now().Add(-time.Hour), *r.Since, time.Minute)
	require.Equal(t, map[string]int{"cancelled": 1}, r.ByStatus)
	r, err = audit.Conservation(t.Context(), system)
	require.NoError(t, err)
	require.Len(t, r.Doubled, 1)
	require.Equal(t, 2, r.Orders)
}

// A service that has lost its database differs in every order; the report stays of a size that can be read.
func TestConservation_bounds_its_report(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for range 1100 {
		w.gateway = append(w.gateway, entry{"kind": "authorize", "order_id": uuid.New().String(), "amount": 1, "currency": "EUR"})
	}
	r, err := audit.Conservation(t.Context(), w.serve(t))
	require.NoError(t, err)
	require.Len(t, r.HeldAfterUndo, 1000)
	require.Equal(t, 100, r.LeftOff)
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
	config := audit.Config{CoordinatorURL: "coordinator:8080", Every: time.Millisecond, Since: -time.Hour}
	err := config.Validate()
	require.ErrorContains(t, err, "COORDINATOR_URL=coordinator:8080")
	require.ErrorContains(t, err, "SHIPPING_URL=")
	require.NotContains(t, err.Error(), "CARRIER_URL", "there is none in production")
	require.ErrorContains(t, err, "AUDIT_SINCE=-1h")
	require.ErrorContains(t, err, "AUDIT_EVERY=1ms")
	require.ErrorContains(t, err, "AUDIT_TIMEOUT=0s")

	environ := []string{"AUDIT_SINCE=0s"}
	for _, name := range []string{"COORDINATOR", "INVENTORY", "PAYMENT", "SHIPPING"} {
		environ = append(environ, name+"_URL=http://"+strings.ToLower(name)+":8080")
	}
	config, err = service.LoadEnv[audit.Config](environ)
	require.NoError(t, err)
	require.Zero(t, config.Since, "all orders")
}
