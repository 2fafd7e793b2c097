package inventory_test

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
	"recourse.dev/pkg/worker"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	"recourse.dev/services/inventory"
)

// No request is answered with a breakdown or with what the API's description does not say.
func FuzzAPI(f *testing.F) {
	spec, err := inventoryapi.GetSpec()
	require.NoError(f, err)
	log := slog.New(slog.DiscardHandler)
	server, err := httpserver.New(httpserver.Options{Spec: spec, Log: log, Unavailable: pg.IsTransient})
	require.NoError(f, err)
	pool := pgtest.DB(f, migrations.FS("inventory"))
	w, err := worker.New(worker.Config{Participant: "inventory"}, pool, log, nil)
	require.NoError(f, err)
	f.Cleanup(w.Close)
	inventory.NewAPI(pool, time.Now, w.Redrive, log).Register(server.Echo())
	apitest.Fuzz(f, spec, server.Handler(),
		`{"sku": "SKU-1", "gtin": "4006381333931", "tracked": true}`,
		`{"code": "BERLIN", "country": "DE", "priority": 1, "active": true}`,
		`{"lines": [{"sku": "SKU-1", "location": "BERLIN", "quantity": 9007199254740991}], "reason": "delivery"}`,
		`{"sku": "SKU-1", "location": "BERLIN", "delta": -9007199254740991, "reason": "lost", "actor": "ann"}`,
		`{"sku": "SKU-1", "location": "BERLIN", "count": 5, "reason": "counted"}`,
		`{"reason": "garbage", "operator": "ann"}`,
	)
}
