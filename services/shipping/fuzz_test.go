package shipping_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
	"recourse.dev/services/shipping"
)

// teller is a carrier that says the same to everybody; a list holds what it says once.
type teller struct {
	status int
	body   string
}

func newTellers(tb testing.TB) (kit func(t *testing.T) *workertest.Kit, says *atomic.Pointer[teller]) {
	tb.Helper()
	pool := pgtest.DB(tb, migrations.FS(shipping.Participant))
	says = &atomic.Pointer[teller]{}
	says.Store(&teller{status: http.StatusServiceUnavailable})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := says.Load()
		w.WriteHeader(answer.status)
		body := answer.body
		if r.Method == http.MethodGet && r.URL.Path == "/v1/shipments" {
			body = `{"shipments": [` + body + `]}`
		}
		_, _ = w.Write([]byte(body))
	}))
	tb.Cleanup(server.Close)
	carrier, err := shipping.NewHTTPCarrier(server.URL, "key", 5*time.Second, 4)
	require.NoError(tb, err)
	tb.Cleanup(carrier.Close)
	h := shipping.NewHandler(pool, carrier, time.Nanosecond)
	tb.Cleanup(h.Close)
	return func(t *testing.T) *workertest.Kit {
		t.Helper()
		// What one answer says of a booking must not be in the way of the next, which may name the same one.
		_, err := pool.Exec(t.Context(), "UPDATE label SET carrier_ref = label_id::text WHERE carrier_ref IS NOT NULL")
		require.NoError(t, err)
		return workertest.New(t, pool, h.Register)
	}, says
}

// Whatever a command says, it is answered or parked, and so is its undo.
func FuzzCommand(f *testing.F) {
	kit, _ := newTellers(f)
	workertest.FuzzCommands(f, kit,
		func(worker.Input) worker.Input { return &shippingv1.CancelShipment{Reason: "card\x00declined"} },
		create(),
		&shippingv1.CreateShipment{
			Meta: workertest.Meta("create_shipment"), Reference: "\x00",
			ShipTo: &orderv1.Address{Name: "\x00", Lines: []string{"", "\x00"}, Country: "\x00"},
			Items:  []*shippingv1.ShipmentItem{{LineId: "\x00", Sku: "\x00", Quantity: -1 << 63}, {Quantity: 1 << 62}},
		},
	)
}

// Whatever the carrier says, the shipment ends or stays a question that is asked again: no answer is one that cannot be
// written down.
func FuzzCarrierAnswer(f *testing.F) {
	f.Add(200, `{"id": "shp_1", "rates": [{"id": "rate_1"}], "selected_rate": {"id": "rate_1", "carrier": "Simpost",
		"rate": "4.90", "currency": "EUR"}, "postage_label": {"id": "pl_1"}, "tracking_code": "SIM1"}`)
	f.Add(201, `{"id": "shp_\u0000", "rates": [{"id": "\u0000"}], "selected_rate": {"carrier": "\u0000",
		"rate": "-4.90", "currency": "EUR"}, "postage_label": {"id": "\u0000"}, "tracking_code": "\u0000"}`)
	f.Add(200, `{"id": "shp_2", "rates": [{"id": "r"}], "selected_rate": {"carrier": "", "rate": "92233720368547758.07",
		"currency": "EUR"}, "postage_label": {"id": ""}, "tracking_code": "1", "refund_status": "submitted"}`)
	f.Add(422, `{"error": {"code": "address_invalid", "message": "\u0000", "errors": [{"field": "\u0000"}]}}`)
	f.Add(422, `{"error": {"code": "shipment_already_bought"}}`)
	f.Add(404, ``)
	newKit, says := newTellers(f)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip("no status of an answer")
		}
		says.Store(&teller{status, body})
		kit, do := newKit(t), create()
		reply := kit.Do(t, do)
		require.NotContains(t, reply.GetInDoubt().GetReason(), "could not write down", body)
		undone := kit.Undo(t, cancelOf(do))
		require.NotContains(t, undone.GetInDoubt().GetReason(), "could not write down", body)
	})
}

// A carrier that gives one booking to two shipments is believed once: the other shipment stays a question, and those that
// come after it end.
func TestCreateShipment_one_booking_for_two(t *testing.T) {
	t.Parallel()
	newKit, says := newTellers(t)
	sold := func(id string) *teller {
		return &teller{http.StatusOK, `{"id": "` + id + `", "rates": [{"id": "r"}], "selected_rate": {"id": "r",
			"carrier": "Simpost", "rate": "4.90", "currency": "EUR"}, "postage_label": {"id": "pl"}, "tracking_code": "S"}`}
	}
	kit := newKit(t)
	says.Store(sold("shp_1"))
	require.NotNil(t, kit.Do(t, create()).GetDone())
	second := create()
	require.NotNil(t, kit.Do(t, second).GetInDoubt())
	says.Store(sold("shp_2"))
	require.NotNil(t, kit.Do(t, create()).GetDone())
	require.Equal(t, worker.StateInDoubt, kit.State(t, second))
}

// Whatever a signed webhook says, it is kept and looked at, and holds no other one up.
func FuzzWebhook(f *testing.F) {
	f.Add("evt_1", []byte(`{"id": "evt_1", "description": "refund.failed", "created_at": "2026-01-02T03:04:05Z",
		"result": {"shipment_id": "shp_1", "reference": "0197a8d2-7b1e-7c3a-9f00-000000000001"}}`))
	f.Add("e", []byte(`{"description": "\u0000", "created_at": "-9999-01-02T03:04:05Z", "result": {"reference": "\u0000"}}`))
	f.Add("", []byte("\xff"))
	pool := pgtest.DB(f, migrations.FS(shipping.Participant))
	log := slog.New(slog.DiscardHandler)
	w, err := worker.New(worker.Config{Participant: shipping.Participant}, pool, log, nil)
	require.NoError(f, err)
	f.Cleanup(w.Close)
	keys, err := webhook.ParseKeys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	events := shipping.NewInbox(pool, w, keys, log)
	f.Cleanup(events.Close)
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		header := http.Header{}
		webhook.Sign(header, keys, id, time.Now(), body)
		if err := events.Receive(t.Context(), header, body); err != nil {
			problem, ok := errors.AsType[*httpserver.Problem](err)
			require.True(t, ok, "%v", err)
			require.Less(t, problem.Status(), http.StatusInternalServerError, "%v", err)
		}
		left, err := events.Process(t.Context())
		require.NoError(t, err, "one event would hold all others up")
		require.Zero(t, left)
	})
}
