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
	notificationapi "recourse.dev/schemas/gen/api/notification"
)

// No request is answered with a breakdown or with what the API's description does not say.
func FuzzAPI(f *testing.F) {
	spec, err := notificationapi.GetSpec()
	require.NoError(f, err)
	server, err := httpserver.New(httpserver.Options{
		Spec: spec, Log: slog.New(slog.DiscardHandler), Unavailable: pg.IsTransient,
	})
	require.NoError(f, err)
	pool := pgtest.DB(f, migrations.FS(Participant))
	notificationapi.RegisterHandlers(server.Echo(), notificationapi.NewStrictHandler(&routes{pool: pool}, nil))
	apitest.Fuzz(f, spec, server.Handler())
}
