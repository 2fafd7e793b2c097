package payment_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	"recourse.dev/services/payment"
)

// teller is a gateway that says the same to everybody.
type teller struct {
	status    int
	requestID string
	body      string
}

// newTellers makes participants over one database whose gateway says what the pointer holds.
func newTellers(f *testing.F) (kit func(t *testing.T) *workertest.Kit, says *atomic.Pointer[teller]) {
	f.Helper()
	pool := pgtest.DB(f, migrations.FS(payment.Participant))
	says = &atomic.Pointer[teller]{}
	says.Store(&teller{status: http.StatusServiceUnavailable})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := says.Load()
		w.Header()["Request-Id"] = []string{answer.requestID}
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(answer.body))
	}))
	f.Cleanup(server.Close)
	gateway, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{
		URL: server.URL, Key: "sk_test", Timeout: unhurried, MaxConns: 4,
	})
	require.NoError(f, err)
	f.Cleanup(gateway.Close)
	log := slog.New(slog.DiscardHandler)
	return func(t *testing.T) *workertest.Kit {
		t.Helper()
		return workertest.New(t, pool, func(w *worker.Worker) {
			payment.NewHandlers(pool, gateway, patient, []time.Duration{time.Minute}, log, nil).Register(w)
		}, func(c *worker.Config) { c.Participant = payment.Participant })
	}, says
}

// Whatever a command says, it is answered or parked, and so is its undo.
func FuzzCommand(f *testing.F) {
	kit, _ := newTellers(f)
	workertest.FuzzCommands(f, kit,
		func(do worker.Input) worker.Input {
			if _, ok := do.(*paymentv1.AuthorizePayment); ok {
				return &paymentv1.VoidAuthorization{Reason: "out\x00of stock"}
			}
			return nil
		},
		authorize(workertest.Meta(authorizeStep), "tok_visa"),
		&paymentv1.AuthorizePayment{
			Meta: workertest.Meta(authorizeStep), AmountMinor: -1, Currency: "\x00", PaymentToken: "\x00",
			CustomerId: "\x00", Reference: "\x00",
		},
		capture(workertest.Meta(captureStep)),
	)
}

// Whatever the gateway says, the operation ends or stays a question that is asked again, it is done only if the
// gateway says so with the right amount, and the books agree.
func FuzzGatewayAnswer(f *testing.F) {
	const metadata = `"amount": 1999, "currency": "eur"`
	f.Add(200, "req_1", `{"id": "pi_1", "status": "requires_capture", "amount_capturable": 1999, `+metadata+`}`)
	f.Add(200, "\xff", `{"id": "pi_\u0000", "status": "succeeded", "amount_received": 1999, "latest_charge": "\u0000", `+
		metadata+`}`)
	f.Add(200, "", `{"id": "pi_1", "status": "requires_capture", "amount_capturable": 1999, "capture_before": `+
		`9223372036854775807, `+metadata+`}`)
	f.Add(200, "req_1", `{"id": "pi_1", "status": "requires_payment_method", "last_payment_error": {"message": "\u0000"}, `+
		metadata+`}`)
	f.Add(402, "req_1", `{"error": {"type": "card_error", "code": "\u0000", "decline_code": "\u0000", "message": "\u0000"}}`)
	f.Add(400, "req_1", `{"error": {"type": "invalid_request_error", "payment_intent": {"id": "\u0000"}}}`)
	f.Add(200, "req_1", `{"data": [{"id": "pi_1"}, {}]}`)
	f.Add(409, "", "")
	f.Add(204, "", "")
	newKit, says := newTellers(f)
	f.Fuzz(func(t *testing.T, status int, requestID, body string) {
		if status < 200 || status > 599 {
			t.Skip("no status of an answer")
		}
		do := authorize(workertest.Meta(authorizeStep), "tok_visa")
		// An intent of one's own for every input: no two operations of ours may share one.
		says.Store(&teller{status, requestID, strings.ReplaceAll(body, "pi_", "pi_"+do.GetMeta().GetSagaId())})
		kit := newKit(t)
		reply := kit.Do(t, do)
		if done := reply.GetDone(); done != nil {
			require.Equal(t, http.StatusOK, status, body)
			require.Len(t, done.GetEffects(), 1)
			require.Equal(t, int64(1999), done.GetEffects()[0].GetAmount())
		}
		if !strings.Contains(body, "pi_") {
			return // two operations may have been given one intent, and of that nothing is written down
		}
		require.NotContains(t, reply.GetInDoubt().GetReason(), "could not write down", body)
		undone := kit.Undo(t, void(do.GetMeta()))
		require.NotContains(t, undone.GetInDoubt().GetReason(), "could not write down", body)
		requireBooksAgree(t, kit.Pool)
	})
}

// Whatever a signed webhook says, it is kept and looked at, and holds no other one up.
func FuzzWebhook(f *testing.F) {
	f.Add("evt_1", []byte(`{"id": "evt_1", "type": "payment_intent.succeeded", "created": 1767323045,
		"data": {"object": {"id": "pi_1", "metadata": {"order_id": "0197a8d2-7b1e-7c3a-9f00-000000000001"}}}}`))
	f.Add("e", []byte(`{"type": "\u0000", "created": -1, "data": {"object": {"payment_intent": "\u0000"}}}`))
	f.Add("", []byte("\xff"))
	pool := pgtest.DB(f, migrations.FS(payment.Participant))
	log := slog.New(slog.DiscardHandler)
	w, err := worker.New(worker.Config{Participant: payment.Participant}, pool, log, nil)
	require.NoError(f, err)
	f.Cleanup(w.Close)
	gateway, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{
		URL: "http://127.0.0.1:1", Timeout: time.Second, MaxConns: 1,
	})
	require.NoError(f, err)
	f.Cleanup(gateway.Close)
	keys, err := webhook.ParseKeys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	events := payment.NewInbox(pool, w, gateway, keys, time.Second, 0, log, nil)
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
