package payment

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/httpserver/apitest"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/worker"
	paymentapi "recourse.dev/schemas/gen/api/payment"
)

// No request is answered with a breakdown or with what the API's description does not say.
func FuzzAPI(f *testing.F) {
	log := slog.New(slog.DiscardHandler)
	spec, err := paymentapi.GetSpec()
	require.NoError(f, err)
	server, err := httpserver.New(httpserver.Options{Spec: spec, Log: log, Unavailable: pg.IsTransient})
	require.NoError(f, err)
	pool := pgtest.DB(f, migrations.FS(Participant))
	w, err := worker.New(worker.Config{Participant: Participant}, pool, log, nil)
	require.NoError(f, err)
	f.Cleanup(w.Close)
	keys, err := webhook.ParseKeys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	gateway, err := NewHTTPGateway(HTTPGatewayConfig{URL: "http://127.0.0.1:1", Timeout: time.Second, MaxConns: 1})
	require.NoError(f, err)
	f.Cleanup(gateway.Close)
	events := NewInbox(pool, w, gateway, keys, time.Second, 0, log, nil)
	f.Cleanup(events.Close)
	paymentapi.RegisterHandlers(server.Echo(),
		paymentapi.NewStrictHandler(&routes{pool: pool, redrive: w.Redrive, inbox: events}, nil))
	apitest.Fuzz(f, spec, server.Handler(), `{"id": "evt_1", "type": "payment_intent.succeeded"}`,
		`{"reason": "garbage", "operator": "ann"}`)
}
