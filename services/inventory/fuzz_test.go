package inventory_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	"recourse.dev/services/inventory"
)

// Whatever a command says, it is answered or parked, and so is its undo.
func FuzzCommand(f *testing.F) {
	pool := pgtest.DB(f, migrations.FS("inventory"))
	lines := []*inventoryv1.StockLine{{LineId: "1", Sku: "SKU-1", Quantity: 2}, {LineId: "2", Sku: "SKU-1", Quantity: 1 << 62}}
	expiry := timestamppb.New(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	workertest.FuzzCommands(f,
		func(t *testing.T) *workertest.Kit {
			t.Helper()
			return workertest.New(t, pool, inventory.NewHandler(time.Now).Register)
		},
		func(do worker.Input) worker.Input {
			if _, ok := do.(*inventoryv1.ReserveStock); ok {
				return &inventoryv1.ReleaseStock{Reason: "card\x00declined"}
			}
			return nil
		},
		&inventoryv1.ReserveStock{
			Meta: workertest.Meta("reserve_stock"), Lines: lines, ExpiresAt: expiry, ShipToCountry: "DE",
		},
		&inventoryv1.ReserveStock{
			Meta: workertest.Meta("reserve_stock"), ShipToCountry: "\x00", ExpiresAt: &timestamppb.Timestamp{Seconds: 1 << 60},
			Lines: []*inventoryv1.StockLine{{LineId: "\x00", Sku: "\x00", Quantity: -1}},
		},
		&inventoryv1.CommitStock{Meta: workertest.Meta("commit_stock")},
	)
}
