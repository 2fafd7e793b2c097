package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/httpserver"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// CreateItem puts an item into the catalogue.
func (a *API) CreateItem(
	ctx context.Context, r inventoryapi.CreateItemRequestObject,
) (inventoryapi.CreateItemResponseObject, error) {
	wanted := Item{
		ItemID:    uuid.Must(uuid.NewV7()),
		SKU:       SKU(r.Body.Sku),
		GTIN:      or(r.Body.Gtin, ""),
		Tracked:   or(r.Body.Tracked, true),
		CreatedAt: instant(a.now()),
	}
	stored, added, err := addItem(ctx, a.pool, wanted)
	if err != nil {
		return nil, err
	}
	if added {
		return inventoryapi.CreateItem201JSONResponse{
			Body:    apiItem(stored),
			Headers: inventoryapi.CreateItem201ResponseHeaders{Location: "/v1/items/" + string(stored.SKU)},
		}, nil
	}
	if stored.GTIN != wanted.GTIN || stored.Tracked != wanted.Tracked {
		return nil, httpserver.NewProblem(httpserver.CodeDuplicateSKU, fmt.Sprintf(
			"%s is in the catalogue with GTIN %q and tracked %t.", stored.SKU, stored.GTIN, stored.Tracked))
	}
	return inventoryapi.CreateItem200JSONResponse(apiItem(stored)), nil
}

// ListItems lists the catalogue.
func (a *API) ListItems(
	ctx context.Context, r inventoryapi.ListItemsRequestObject,
) (inventoryapi.ListItemsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var after SKU
	if err := cursorOf(r.Params.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := list[Item](ctx, a.pool, "items", listItemsSQL, pgx.StrictNamedArgs{"after": after, "limit": limit + 1})
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(i Item) []any { return []any{i.SKU} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListItems200JSONResponse{Items: each(rows, apiItem), NextCursor: next}, nil
}

// maxItemLevels bounds the levels shown with an item; /v1/levels pages through more.
const maxItemLevels = 200

// GetItem shows an item and where it lies.
func (a *API) GetItem(
	ctx context.Context, r inventoryapi.GetItemRequestObject,
) (inventoryapi.GetItemResponseObject, error) {
	item, found, err := findItem(ctx, a.pool, SKU(r.Sku))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, httpserver.NewProblem(httpserver.CodeUnknownSKU, fmt.Sprintf("%s is not in the catalogue.", r.Sku))
	}
	levels, err := list[LevelRow](ctx, a.pool, "levels", listLevelsSQL, pgx.StrictNamedArgs{
		"sku": r.Sku, "location": nil, "after_sku": "", "after_location": "", "limit": maxItemLevels,
	})
	if err != nil {
		return nil, err
	}
	return inventoryapi.GetItem200JSONResponse{Item: apiItem(item), Levels: each(levels, apiLevel)}, nil
}

// CreateLocation opens a location.
func (a *API) CreateLocation(
	ctx context.Context, r inventoryapi.CreateLocationRequestObject,
) (inventoryapi.CreateLocationResponseObject, error) {
	const usualPriority = 100
	wanted := Location{
		LocationID: uuid.Must(uuid.NewV7()),
		Code:       r.Body.Code,
		Country:    r.Body.Country,
		Active:     or(r.Body.Active, true),
		Priority:   or(r.Body.Priority, usualPriority),
		CreatedAt:  instant(a.now()),
	}
	stored, added, err := addLocation(ctx, a.pool, wanted)
	if err != nil {
		return nil, err
	}
	if added {
		return inventoryapi.CreateLocation201JSONResponse(apiLocation(stored)), nil
	}
	if stored.Country != wanted.Country || stored.Active != wanted.Active || stored.Priority != wanted.Priority {
		return nil, httpserver.NewProblem(httpserver.CodeDuplicateLocation, fmt.Sprintf(
			"%s is there with country %s, active %t and priority %d.",
			stored.Code, stored.Country, stored.Active, stored.Priority))
	}
	return inventoryapi.CreateLocation200JSONResponse(apiLocation(stored)), nil
}

// ListLocations lists the locations.
func (a *API) ListLocations(
	ctx context.Context, r inventoryapi.ListLocationsRequestObject,
) (inventoryapi.ListLocationsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var after string
	if err := cursorOf(r.Params.Cursor, &after); err != nil {
		return nil, err
	}
	args := pgx.StrictNamedArgs{"after": after, "limit": limit + 1}
	rows, err := list[Location](ctx, a.pool, "locations", listLocationsSQL, args)
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(l Location) []any { return []any{l.Code} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListLocations200JSONResponse{Locations: each(rows, apiLocation), NextCursor: next}, nil
}

// ListLevels lists stock by item and location.
func (a *API) ListLevels(
	ctx context.Context, r inventoryapi.ListLevelsRequestObject,
) (inventoryapi.ListLevelsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var afterSKU, afterLocation string
	if err := cursorOf(r.Params.Cursor, &afterSKU, &afterLocation); err != nil {
		return nil, err
	}
	rows, err := list[LevelRow](ctx, a.pool, "levels", listLevelsSQL, pgx.StrictNamedArgs{
		"sku": r.Params.Sku, "location": r.Params.Location, "after_sku": afterSKU, "after_location": afterLocation,
		"limit": limit + 1,
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(l LevelRow) []any { return []any{l.SKU, l.Location} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListLevels200JSONResponse{Levels: each(rows, apiLevel), NextCursor: next}, nil
}

// ListMovements lists the ledger.
func (a *API) ListMovements(
	ctx context.Context, r inventoryapi.ListMovementsRequestObject,
) (inventoryapi.ListMovementsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var key LevelKey
	var version int64
	if err := cursorOf(r.Params.Cursor, &key.ItemID, &key.LocationID, &version); err != nil {
		return nil, err
	}
	rows, err := list[MovementRow](ctx, a.pool, "movements", listMovementsSQL, pgx.StrictNamedArgs{
		"sku": r.Params.Sku, "location": r.Params.Location, "cause_id": r.Params.CauseID,
		"after_version": or(r.Params.After, 0), "limit": limit + 1,
		"cursor_item": key.ItemID, "cursor_location": key.LocationID, "cursor_version": version,
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(m MovementRow) []any { return []any{m.ItemID, m.LocationID, m.Version} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListMovements200JSONResponse{Movements: each(rows, apiMovement), NextCursor: next}, nil
}

// anybody is the actor of a request that names none.
const anybody = "shop"

// ReceiveStock books goods that came in.
func (a *API) ReceiveStock(
	ctx context.Context, r inventoryapi.ReceiveStockRequestObject,
) (inventoryapi.ReceiveStockResponseObject, error) {
	receipt := Receipt{Reason: or(r.Body.Reason, ""), Actor: or(r.Body.Actor, anybody)}
	for _, l := range r.Body.Lines {
		receipt.Lines = append(receipt.Lines,
			ReceiptLine{Place: Place{SKU: SKU(l.Sku), Location: l.Location}, Quantity: l.Quantity})
	}
	booking, err := receive(ctx, a.pool, r.Params.IdempotencyKey, receipt, a.now())
	if err != nil {
		return nil, problemOf(err)
	}
	return inventoryapi.ReceiveStock200JSONResponse(a.moved(ctx, booking)), nil
}

// AdjustStock corrects a level.
func (a *API) AdjustStock(
	ctx context.Context, r inventoryapi.AdjustStockRequestObject,
) (inventoryapi.AdjustStockResponseObject, error) {
	booking, err := adjust(ctx, a.pool, r.Params.IdempotencyKey, Adjustment{
		Place:  Place{SKU: SKU(r.Body.Sku), Location: r.Body.Location},
		Count:  r.Body.Count,
		Delta:  r.Body.Delta,
		Reason: r.Body.Reason,
		Actor:  or(r.Body.Actor, anybody),
	}, a.now())
	if err != nil {
		return nil, problemOf(err)
	}
	return inventoryapi.AdjustStock200JSONResponse(a.moved(ctx, booking)), nil
}

func (a *API) moved(ctx context.Context, b Booking) inventoryapi.StockMoved {
	for _, s := range b.Shortages {
		a.log.WarnContext(ctx, "less stock than is promised", slog.String("sku", string(s.SKU)),
			slog.String("location", s.Location), slog.Int64("shortage", s.Shortage))
	}
	moved := inventoryapi.StockMoved{CauseID: b.CauseID, Movements: each(b.Movements, apiMovement)}
	if len(b.Shortages) > 0 {
		short := each(b.Shortages, apiLevel)
		moved.Shortages = &short
	}
	return moved
}

// problemOf says a Fault in the words of the API; other errors pass.
func problemOf(err error) error {
	fault, ok := errors.AsType[*Fault](err)
	if !ok {
		return err
	}
	codes := map[string]httpserver.Code{
		CodeUnknownSKU:       httpserver.CodeUnknownSKU,
		CodeUnknownLocation:  httpserver.CodeUnknownLocation,
		CodeUntrackedItem:    httpserver.CodeConflict,
		CodeStockBelowZero:   httpserver.CodeInsufficientStock,
		CodeIdempotencyReuse: httpserver.CodeIdempotencyKeyReused,
		CodeCountOrDelta:     httpserver.CodeValidationFailed,
	}
	return httpserver.NewProblem(codes[fault.Code], fault.Detail, httpserver.WithErrors(
		httpserver.FieldError{Pointer: fault.Pointer, Code: fault.Code, Detail: fault.Detail}))
}
