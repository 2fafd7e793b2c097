package inventory_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/worker"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// rest is a shop behind HTTP, with validation and problems as in production.
type rest struct {
	*shop
	client *inventoryapi.ClientWithResponses
	url    string
}

func newREST(t *testing.T) *rest {
	t.Helper()
	s := newShop(t)
	spec, err := inventoryapi.GetSpec()
	require.NoError(t, err)
	server, err := httpserver.New(httpserver.Options{
		Spec: spec, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Unavailable: pg.IsTransient,
	})
	require.NoError(t, err)
	s.api.Register(server.Echo())
	listening := httptest.NewServer(server.Handler())
	t.Cleanup(listening.Close)
	client, err := inventoryapi.NewClientWithResponses(listening.URL, inventoryapi.WithHTTPClient(listening.Client()))
	require.NoError(t, err)
	return &rest{shop: s, client: client, url: listening.URL}
}

// post sends a raw body and returns the status and the answer's text.
func (r *rest) post(t *testing.T, path, key, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	return r.roundTrip(t, request)
}

func (r *rest) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	require.NoError(t, err)
	return r.roundTrip(t, request)
}

func (r *rest) roundTrip(t *testing.T, request *http.Request) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = recorder.Body.ReadFrom(response.Body)
	require.NoError(t, err)
	return response.StatusCode, recorder.Body.String()
}

func TestAPI_Catalogue(t *testing.T) {
	t.Parallel()
	r := newREST(t)
	status, text := r.post(t, "/v1/items", "", `{"sku": "MUG", "gtin": "4006381333931"}`)
	require.Equal(t, 201, status, text)
	status, text = r.post(t, "/v1/items", "", `{"sku": "MUG", "gtin": "4006381333931", "tracked": true}`)
	require.Equal(t, 200, status, text)
	status, text = r.post(t, "/v1/items", "", `{"sku": "MUG"}`)
	require.Equal(t, 409, status)
	require.Contains(t, text, `"code":"duplicate_sku"`)
	status, _ = r.post(t, "/v1/locations", "", `{"code": "BERLIN", "country": "DE"}`)
	require.Equal(t, 201, status)
	status, _ = r.post(t, "/v1/locations", "", `{"code": "BERLIN", "country": "DE"}`)
	require.Equal(t, 200, status)
	status, text = r.post(t, "/v1/locations", "", `{"code": "BERLIN", "country": "FR"}`)
	require.Equal(t, 409, status)
	require.Contains(t, text, `"code":"duplicate_location"`)
	item, err := r.client.GetItemWithResponse(t.Context(), "MUG")
	require.NoError(t, err)
	require.Equal(t, "4006381333931", *item.JSON200.Item.Gtin)
	require.Empty(t, item.JSON200.Levels)
	status, text = r.get(t, "/v1/items/CUP")
	require.Equal(t, 404, status)
	require.Contains(t, text, `"code":"unknown_sku"`)
	locations, err := r.client.ListLocationsWithResponse(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, locations.JSON200.Locations, 1)
}

func TestAPI_RefusesBadRequests(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	r := newREST(t)
	r.stock(t, "MUG", "BERLIN", "DE", 2)
	r.stock(t, "GIFT", "BERLIN", "DE", 0)
	_, err := r.pool.Exec(t.Context(), `UPDATE item SET tracked = false WHERE sku = 'GIFT'`)
	require.NoError(t, err)
	line := func(sku, location, quantity string) string {
		return fmt.Sprintf(`{"lines": [{"sku": "MUG", "location": "BERLIN", "quantity": 1},
			{"sku": %q, "location": %q, "quantity": %s}]}`, sku, location, quantity)
	}
	for _, c := range []struct {
		name, path, body string
		status           int
		contains         []string
	}{
		{"no_json", "/v1/items", `{`, 400, []string{`"malformed_json"`}},
		{"lower_case", "/v1/items", `{"sku": "mug"}`, 422, []string{`"pointer":"/sku"`, `"code":"pattern"`}},
		{"misspelt", "/v1/items", `{"sku": "MUG", "gtin_": "1"}`, 422, []string{`"validation_failed"`}},
		{"country", "/v1/locations", `{"code": "B", "country": "Germany"}`, 422, []string{`"pointer":"/country"`}},
		{"no_lines", "/v1/stock/receive", `{"lines": []}`, 422, []string{`"pointer":"/lines"`}},
		{"nothing_received", "/v1/stock/receive", line("MUG", "BERLIN", "0"), 422, []string{`"pointer":"/lines/1/quantity"`}},
		{"unknown_sku", "/v1/stock/receive", line("CUP", "BERLIN", "1"), 404, []string{`"unknown_sku"`, `"/lines/1/sku"`}},
		{
			"unknown_location", "/v1/stock/receive", line("MUG", "ROME", "1"), 404,
			[]string{`"unknown_location"`, `"/lines/1/location"`},
		},
		{"untracked", "/v1/stock/receive", line("GIFT", "BERLIN", "1"), 409, []string{`"untracked_item"`, `"/lines/1/sku"`}},
		{
			"count_and_delta", "/v1/stock/adjust", `{"sku": "MUG", "location": "BERLIN", "count": 1, "delta": 1, "reason": "x"}`,
			422,
			[]string{`exactly one of count and delta`},
		},
		{
			"neither", "/v1/stock/adjust", `{"sku": "MUG", "location": "BERLIN", "reason": "x"}`, 422,
			[]string{`exactly one of count and delta`},
		},
		{"no_reason", "/v1/stock/adjust", `{"sku": "MUG", "location": "BERLIN", "count": 1}`, 422, []string{`"required"`}},
		{
			"below_zero", "/v1/stock/adjust", `{"sku": "MUG", "location": "BERLIN", "delta": -3, "reason": "x"}`, 409,
			[]string{`"insufficient_stock"`, `"/delta"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text := r.post(t, c.path, uuid.NewString(), c.body)
			require.Equal(t, c.status, status, text)
			for _, part := range c.contains {
				require.Contains(t, text, part)
			}
		})
	}
	t.Run("no_idempotency_key", func(t *testing.T) {
		status, text := r.post(t, "/v1/stock/receive", "", line("MUG", "BERLIN", "1"))
		require.Equal(t, 400, status)
		require.Contains(t, text, `"idempotency_key_missing"`)
	})
	for _, path := range []string{"/v1/items?cursor=%21", "/v1/levels?cursor=WyJBIl0", "/v1/dead-letters?cursor=e30"} {
		t.Run("cursor"+path, func(t *testing.T) {
			status, text := r.get(t, path)
			require.Equal(t, 400, status, text)
			require.Contains(t, text, `"cursor_invalid"`)
		})
	}
	require.Equal(t, int64(2), r.level(t, "MUG", "BERLIN").OnHand, "all lines or none")
}

func TestAPI_ReceiveStock_OncePerKey(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	r := newREST(t)
	r.stock(t, "MUG", "BERLIN", "DE", 0)
	r.stock(t, "PEN", "PARIS", "FR", 0)
	const body = `{"reason": "delivery 17", "actor": "anna", "lines": [
		{"sku": "PEN", "location": "PARIS", "quantity": 5},
		{"sku": "MUG", "location": "BERLIN", "quantity": 2},
		{"sku": "PEN", "location": "PARIS", "quantity": 1}]}`
	answers := make([]string, 8)
	var wait sync.WaitGroup
	for i := range answers {
		wait.Go(func() {
			_, answers[i] = r.post(t, "/v1/stock/receive", "delivery-17", body)
		})
	}
	wait.Wait()
	for _, answer := range answers {
		require.Equal(t, answers[0], answer, "the same key, the same answer")
	}
	require.Contains(t, answers[0], `"on_hand":6`)
	pens := r.level(t, "PEN", "PARIS")
	require.Equal(t, []int64{6, 1}, []int64{pens.OnHand, pens.Version}, "lines of one level are one movement")
	status, text := r.post(t, "/v1/stock/receive", "delivery-17", strings.Replace(body, "5", "6", 1))
	require.Equal(t, 422, status)
	require.Contains(t, text, `"idempotency_key_reused"`)
	status, text = r.post(t, "/v1/stock/adjust", "delivery-17",
		`{"sku": "MUG", "location": "BERLIN", "count": 2, "reason": "x"}`)
	require.Equal(t, 422, status, text)

	t.Run("a_refused_request_leaves_its_key_free", func(t *testing.T) {
		status, _ := r.post(t, "/v1/stock/receive", "k", `{"lines": [{"sku": "CUP", "location": "PARIS", "quantity": 1}]}`)
		require.Equal(t, 404, status)
		status, text := r.post(t, "/v1/stock/receive", "k", `{"lines": [{"sku": "PEN", "location": "PARIS", "quantity": 1}]}`)
		require.Equal(t, 200, status, text)
	})
	r.totals(t)
}

func TestAPI_AdjustStock(t *testing.T) {
	t.Parallel()
	r := newREST(t)
	r.stock(t, "MUG", "BERLIN", "DE", 5)
	const counted = `{"sku": "MUG", "location": "BERLIN", "count": 3, "reason": "stocktake"}`
	status, first := r.post(t, "/v1/stock/adjust", "a", counted)
	require.Equal(t, 200, status, first)
	require.Contains(t, first, `"d_on_hand":-2`)
	status, text := r.post(t, "/v1/stock/adjust", "b",
		`{"sku": "MUG", "location": "BERLIN", "delta": 4, "reason": "found"}`)
	require.Equal(t, 200, status, text)
	_, again := r.post(t, "/v1/stock/adjust", "a", counted)
	require.Equal(t, first, again, "a repeat corrects nothing again, though the count is wrong by now")
	require.Equal(t, int64(7), r.level(t, "MUG", "BERLIN").OnHand)
	status, text = r.post(t, "/v1/stock/adjust", "c",
		`{"sku": "MUG", "location": "BERLIN", "count": 7, "reason": "stocktake"}`)
	require.Equal(t, 200, status)
	require.Contains(t, text, `"movements":[]`, "the book was right")
	require.Equal(t, int64(2), r.totals(t)["MUG"].Ledger.Adjusted)
}

func TestAPI_PagesLists(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	r := newREST(t)
	for i := range 5 {
		r.stock(t, fmt.Sprintf("SKU-%d", i), "BERLIN", "DE", 1)
		r.stock(t, fmt.Sprintf("SKU-%d", i), "PARIS", "FR", 1)
	}
	var holds []worker.Input
	for range 5 {
		holds = append(holds, r.reserve(want{"SKU-1", 1}))
	}
	r.kit.Send(t, holds...)
	limit := 2
	ctx := t.Context()
	for name, read := range map[string]func(cursor *string) (rows []string, next *string){
		"items": func(cursor *string) (rows []string, next *string) {
			page, err := r.client.ListItemsWithResponse(ctx, &inventoryapi.ListItemsParams{Cursor: cursor, Limit: &limit})
			require.NoError(t, err)
			for _, i := range page.JSON200.Items {
				rows = append(rows, i.Sku)
			}
			return rows, page.JSON200.NextCursor
		},
		"levels": func(cursor *string) (rows []string, next *string) {
			page, err := r.client.ListLevelsWithResponse(ctx, &inventoryapi.ListLevelsParams{Cursor: cursor, Limit: &limit})
			require.NoError(t, err)
			for _, l := range page.JSON200.Levels {
				rows = append(rows, l.Sku+"@"+l.Location)
			}
			return rows, page.JSON200.NextCursor
		},
		"movements": func(cursor *string) (rows []string, next *string) {
			page, err := r.client.ListMovementsWithResponse(ctx,
				&inventoryapi.ListMovementsParams{Cursor: cursor, Limit: &limit})
			require.NoError(t, err)
			for _, m := range page.JSON200.Movements {
				rows = append(rows, fmt.Sprintf("%s@%s#%d", m.Sku, m.Location, m.Version))
			}
			return rows, page.JSON200.NextCursor
		},
		"reservations": func(cursor *string) (rows []string, next *string) {
			page, err := r.client.ListReservationsWithResponse(ctx,
				&inventoryapi.ListReservationsParams{Cursor: cursor, Limit: &limit})
			require.NoError(t, err)
			for _, held := range page.JSON200.Reservations {
				require.Len(t, held.Lines, 1)
				rows = append(rows, held.ReservationID.String())
			}
			return rows, page.JSON200.NextCursor
		},
		"totals": func(cursor *string) (rows []string, next *string) {
			page, err := r.client.ListTotalsWithResponse(ctx, &inventoryapi.ListTotalsParams{Cursor: cursor, Limit: &limit})
			require.NoError(t, err)
			for _, total := range page.JSON200.Totals {
				rows = append(rows, total.Sku)
			}
			return rows, page.JSON200.NextCursor
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(map[string]bool)
			var cursor *string
			for {
				rows, next := read(cursor)
				require.LessOrEqual(t, len(rows), limit)
				for _, row := range rows {
					require.False(t, seen[row], "%s came twice", row)
					seen[row] = true
				}
				if cursor = next; cursor == nil {
					break
				}
			}
			want := map[string]int{"items": 5, "levels": 10, "movements": 12, "reservations": 2, "totals": 5}
			require.Len(t, seen, want[name])
		})
	}
}

func TestAPI_FiltersLists(t *testing.T) {
	t.Parallel()
	r := newREST(t)
	r.stock(t, "MUG", "BERLIN", "DE", 9)
	r.stock(t, "MUG", "PARIS", "FR", 9)
	r.stock(t, "PEN", "BERLIN", "DE", 9)
	held, gone := r.reserve(want{"MUG", 1}), r.reserve(want{"PEN", 1})
	r.kit.Send(t, held, gone)
	r.kit.Send(t, release(gone))
	ctx := t.Context()

	sku, place, after := "PEN", "BERLIN", int64(1)
	ledger, err := r.client.ListMovementsWithResponse(ctx, &inventoryapi.ListMovementsParams{
		Sku: &sku, Location: &place, After: &after,
	})
	require.NoError(t, err)
	require.Equal(t, []inventoryapi.MovementKind{"reserve", "release"}, kinds(ledger.JSON200.Movements))
	require.Equal(t, "card declined", ledger.JSON200.Movements[1].Reason)
	require.Equal(t, "saga:"+gone.GetMeta().GetSagaId(), ledger.JSON200.Movements[1].Actor)

	state := inventoryapi.Held
	page, err := r.client.ListReservationsWithResponse(ctx, &inventoryapi.ListReservationsParams{State: &state})
	require.NoError(t, err)
	require.Len(t, page.JSON200.Reservations, 1)
	id := page.JSON200.Reservations[0].ReservationID
	require.Equal(t, held.GetMeta().GetOrderId(), page.JSON200.Reservations[0].OrderID.String())
	got, err := r.client.GetReservationWithResponse(ctx, id)
	require.NoError(t, err)
	require.Equal(t, page.JSON200.Reservations[0], *got.JSON200)
	cause, err := r.client.ListMovementsWithResponse(ctx, &inventoryapi.ListMovementsParams{CauseID: &id})
	require.NoError(t, err)
	require.Equal(t, []inventoryapi.MovementKind{"reserve"}, kinds(cause.JSON200.Movements))

	status, _ := r.get(t, "/v1/reservations/"+uuid.NewString())
	require.Equal(t, 404, status)
	status, text := r.get(t, "/v1/reservations?state=lost")
	require.Equal(t, 422, status, text)
	item, err := r.client.GetItemWithResponse(ctx, "MUG")
	require.NoError(t, err)
	require.Len(t, item.JSON200.Levels, 2)
}

func kinds(movements []inventoryapi.Movement) []inventoryapi.MovementKind {
	var of []inventoryapi.MovementKind
	for _, m := range movements {
		of = append(of, m.Kind)
	}
	return of
}

func TestAPI_ListsDeadLetters(t *testing.T) {
	t.Parallel()
	r := newREST(t)
	for range 3 {
		record := r.kit.Records(t, r.reserve(want{"MUG", 1}))[0]
		record.Value = []byte("\xff not protobuf")
		r.kit.SendRecords(t, record)
	}
	limit := 2
	page, err := r.client.ListDeadLettersWithResponse(t.Context(), &inventoryapi.ListDeadLettersParams{Limit: &limit})
	require.NoError(t, err)
	require.Len(t, page.JSON200.DeadLetters, 2)
	require.Equal(t, "undecodable", page.JSON200.DeadLetters[0].Reason)
	rest, err := r.client.ListDeadLettersWithResponse(t.Context(), &inventoryapi.ListDeadLettersParams{
		Limit: &limit, Cursor: page.JSON200.NextCursor,
	})
	require.NoError(t, err)
	require.Len(t, rest.JSON200.DeadLetters, 1)
	require.Nil(t, rest.JSON200.NextCursor)
}

func TestAPI_SaysWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	r := newREST(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r.pool.Close()
	response, err := r.client.ListItemsWithResponse(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, 503, response.StatusCode())
	require.NotEmpty(t, response.HTTPResponse.Header.Get("Retry-After"))
}
