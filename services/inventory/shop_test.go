package inventory_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/inventory"
)

// shop is a whole inventory without broker and listener: the API to stock it, the kit to send commands, the sweeper,
// and a clock that the test moves.
type shop struct {
	pool    *pgxpool.Pool
	api     *inventory.API
	kit     *workertest.Kit
	sweeper *inventory.Sweeper
	skipped atomic.Int64 // added to the clock
}

func newShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{pool: pgtest.DB(t, migrations.FS("inventory"))}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s.kit = s.newKit(t)
	s.api = inventory.NewAPI(s.pool, s.now, s.kit.Worker.Redrive, log)
	s.sweeper = inventory.NewSweeper(s.pool, time.Hour, s.now, log, nil)
	return s
}

func (s *shop) newKit(t testing.TB) *workertest.Kit {
	t.Helper()
	return workertest.New(t, s.pool, inventory.NewHandler(s.now).Register)
}

func (s *shop) now() time.Time { return time.Now().Add(time.Duration(s.skipped.Load())) }

func (s *shop) skip(d time.Duration) { s.skipped.Add(int64(d)) }

// stock makes the item and the location if need be and receives a quantity; 0 only makes the two.
func (s *shop) stock(t testing.TB, sku, location, country string, quantity int64) {
	t.Helper()
	_, err := s.api.CreateItem(t.Context(), inventoryapi.CreateItemRequestObject{Body: &inventoryapi.NewItem{Sku: sku}})
	require.NoError(t, err)
	_, err = s.api.CreateLocation(t.Context(), inventoryapi.CreateLocationRequestObject{
		Body: &inventoryapi.NewLocation{Code: location, Country: country},
	})
	require.NoError(t, err)
	if quantity == 0 {
		return
	}
	_, err = s.api.ReceiveStock(t.Context(), inventoryapi.ReceiveStockRequestObject{
		Params: inventoryapi.ReceiveStockParams{IdempotencyKey: uuid.NewString()},
		Body: &inventoryapi.Receipt{Lines: []inventoryapi.ReceiptLine{
			{Sku: sku, Location: location, Quantity: quantity},
		}},
	})
	require.NoError(t, err)
}

// count says how many there are of an item at a location.
func (s *shop) count(t *testing.T, sku, location string, n int64) inventoryapi.StockMoved {
	t.Helper()
	response, err := s.api.AdjustStock(t.Context(), inventoryapi.AdjustStockRequestObject{
		Params: inventoryapi.AdjustStockParams{IdempotencyKey: uuid.NewString()},
		Body:   &inventoryapi.Adjustment{Sku: sku, Location: location, Count: &n, Reason: "counted"},
	})
	require.NoError(t, err)
	moved, ok := response.(inventoryapi.AdjustStock200JSONResponse)
	require.True(t, ok)
	return inventoryapi.StockMoved(moved)
}

func (s *shop) level(t *testing.T, sku, location string) inventoryapi.Level {
	t.Helper()
	response, err := s.api.ListLevels(t.Context(), inventoryapi.ListLevelsRequestObject{
		Params: inventoryapi.ListLevelsParams{Sku: &sku, Location: &location},
	})
	require.NoError(t, err)
	page, ok := response.(inventoryapi.ListLevels200JSONResponse)
	require.True(t, ok)
	require.Len(t, page.Levels, 1)
	return page.Levels[0]
}

// totals reads the sums of all SKUs and requires that the three sides agree: no test may leave the books wrong.
func (s *shop) totals(t *testing.T) map[string]inventoryapi.Total {
	t.Helper()
	limit := 200
	response, err := s.api.ListTotals(t.Context(), inventoryapi.ListTotalsRequestObject{
		Params: inventoryapi.ListTotalsParams{Limit: &limit},
	})
	require.NoError(t, err)
	page, ok := response.(inventoryapi.ListTotals200JSONResponse)
	require.True(t, ok)
	bySKU := make(map[string]inventoryapi.Total)
	for _, total := range page.Totals {
		require.True(t, total.Agree, "%+v", total)
		bySKU[total.Sku] = total
	}
	s.books(t)
	return bySKU
}

// books reads every reservation beside its movements and requires that they agree. One is asked for at a time.
func (s *shop) books(t *testing.T) []inventoryapi.BookEntry {
	t.Helper()
	var (
		all   []inventoryapi.BookEntry
		after *uuid.UUID
	)
	limit := 1
	for {
		response, err := s.api.ListBooks(t.Context(), inventoryapi.ListBooksRequestObject{
			Params: inventoryapi.ListBooksParams{AfterOrder: after, Limit: &limit},
		})
		require.NoError(t, err)
		page, ok := response.(inventoryapi.ListBooks200JSONResponse)
		require.True(t, ok)
		for _, e := range page.Entries {
			for _, sku := range e.Skus {
				require.Equal(t, sku.Open, sku.LedgerOpen, "%+v", e)
				require.Equal(t, sku.Shipped, sku.LedgerShipped, "%+v", e)
			}
		}
		all = append(all, page.Entries...)
		if after = page.NextAfter; after == nil {
			return all
		}
	}
}

// reservations lists those of an order, newest first.
func (s *shop) reservations(t *testing.T, order string) []inventoryapi.Reservation {
	t.Helper()
	id := uuid.MustParse(order)
	response, err := s.api.ListReservations(t.Context(), inventoryapi.ListReservationsRequestObject{
		Params: inventoryapi.ListReservationsParams{OrderID: &id},
	})
	require.NoError(t, err)
	page, ok := response.(inventoryapi.ListReservations200JSONResponse)
	require.True(t, ok)
	return page.Reservations
}

type want struct {
	sku string
	qty int64
}

// reserve makes a ReserveStock for a new order that is to be shipped to Germany within the hour.
func (s *shop) reserve(wants ...want) *inventoryv1.ReserveStock {
	return s.reserveFor(workertest.Meta("reserve_stock"), wants...)
}

func (s *shop) reserveFor(meta *sagav1.CommandMeta, wants ...want) *inventoryv1.ReserveStock {
	command := &inventoryv1.ReserveStock{
		Meta: meta, ExpiresAt: timestamppb.New(s.now().Add(time.Hour)), ShipToCountry: "DE",
	}
	for i, w := range wants {
		command.Lines = append(command.Lines, &inventoryv1.StockLine{
			LineId: string(rune('1' + i)), Sku: w.sku, Quantity: w.qty,
		})
	}
	return command
}

func release(of *inventoryv1.ReserveStock) *inventoryv1.ReleaseStock {
	return &inventoryv1.ReleaseStock{Meta: workertest.UndoMeta(of.GetMeta()), Reason: "card declined"}
}

func commit(of *inventoryv1.ReserveStock) *inventoryv1.CommitStock {
	return &inventoryv1.CommitStock{Meta: workertest.StepMeta(of.GetMeta(), "commit_stock")}
}

// done sends a do that must succeed.
func (s *shop) done(t *testing.T, command worker.Input) *sagav1.Done {
	t.Helper()
	reply := s.kit.Do(t, command)
	require.NotNil(t, reply.GetDone(), "%v", reply)
	return reply.GetDone()
}
