package notification

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/httpserver/apitest"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	notificationapi "recourse.dev/schemas/gen/api/notification"
)

// No request is answered with a breakdown or with what the API's description does not say.
func FuzzAPI(f *testing.F) {
	spec, err := notificationapi.GetSpec()
	require.NoError(f, err)
	log := slog.New(slog.DiscardHandler)
	server, err := httpserver.New(httpserver.Options{Spec: spec, Log: log, Unavailable: pg.IsTransient})
	require.NoError(f, err)
	pool := pgtest.DB(f, migrations.FS(Participant))
	w, err := worker.New(worker.Config{Participant: Participant}, pool, log, nil)
	require.NoError(f, err)
	f.Cleanup(w.Close)
	notificationapi.RegisterHandlers(server.Echo(),
		notificationapi.NewStrictHandler(&routes{pool: pool, redrive: w.Redrive}, nil))
	apitest.Fuzz(f, spec, server.Handler(), `{"reason": "garbage", "operator": "ann"}`)
}
