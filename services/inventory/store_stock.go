package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The SQL of what people do by hand: the catalogue, receipts and adjustments.

const insertItemSQL = `
INSERT INTO item (item_id, sku, gtin, tracked, created_at)
VALUES (@item_id, @sku, nullif(@gtin, ''), @tracked, @created_at)
ON CONFLICT (sku) DO NOTHING`

// addItem puts an item into the catalogue, or returns the one that has its SKU already.
func addItem(ctx context.Context, pool *pgxpool.Pool, item Item) (stored Item, added bool, err error) {
	tag, err := pool.Exec(ctx, insertItemSQL, pgx.StrictNamedArgs{
		"item_id": item.ItemID, "sku": item.SKU, "gtin": item.GTIN, "tracked": item.Tracked, "created_at": item.CreatedAt,
	})
	if err != nil {
		return Item{}, false, fmt.Errorf("adding item %s: %w", item.SKU, err)
	}
	stored, _, err = findItem(ctx, pool, item.SKU)
	return stored, tag.RowsAffected() == 1, err
}

const selectItemSQL = `
SELECT item_id, sku, coalesce(gtin, '') AS gtin, tracked, created_at
FROM item
WHERE sku = @sku`

func findItem(ctx context.Context, pool *pgxpool.Pool, sku SKU) (item Item, found bool, err error) {
	rows, err := pool.Query(ctx, selectItemSQL, pgx.StrictNamedArgs{"sku": sku})
	if err != nil {
		return Item{}, false, fmt.Errorf("reading item %s: %w", sku, err)
	}
	item, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Item])
	if errors.Is(err, pgx.ErrNoRows) {
		return Item{}, false, nil
	}
	if err != nil {
		return Item{}, false, fmt.Errorf("reading item %s: %w", sku, err)
	}
	return item, true, nil
}

const insertLocationSQL = `
INSERT INTO location (location_id, code, country, active, priority, created_at)
VALUES (@location_id, @code, @country, @active, @priority, @created_at)
ON CONFLICT (code) DO NOTHING`

const selectLocationSQL = `
SELECT location_id, code, country, active, priority, created_at
FROM location
WHERE code = @code`

// addLocation opens a location, or returns the one that has its code already.
func addLocation(ctx context.Context, pool *pgxpool.Pool, l Location) (stored Location, added bool, err error) {
	tag, err := pool.Exec(ctx, insertLocationSQL, pgx.StrictNamedArgs{
		"location_id": l.LocationID, "code": l.Code, "country": l.Country, "active": l.Active, "priority": l.Priority,
		"created_at": l.CreatedAt,
	})
	if err != nil {
		return Location{}, false, fmt.Errorf("adding location %s: %w", l.Code, err)
	}
	rows, err := pool.Query(ctx, selectLocationSQL, pgx.StrictNamedArgs{"code": l.Code})
	if err != nil {
		return Location{}, false, fmt.Errorf("reading location %s: %w", l.Code, err)
	}
	stored, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Location])
	if err != nil {
		return Location{}, false, fmt.Errorf("reading location %s: %w", l.Code, err)
	}
	return stored, tag.RowsAffected() == 1, nil
}

const selectLocationIDsSQL = `
SELECT code, location_id
FROM location
WHERE code = ANY(@codes::text[])`

func locationsByCode(ctx context.Context, tx pgx.Tx, codes []string) (map[string]uuid.UUID, error) {
	rows, err := tx.Query(ctx, selectLocationIDsSQL, pgx.StrictNamedArgs{"codes": codes})
	if err != nil {
		return nil, fmt.Errorf("reading locations: %w", err)
	}
	byCode := make(map[string]uuid.UUID, len(codes))
	var code string
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&code, &id}, func() error {
		byCode[code] = id
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading locations: %w", err)
	}
	return byCode, nil
}

// A second transaction with the same key waits here for the first one to end.
const claimRequestSQL = `
INSERT INTO stock_request (cause_id, idempotency_key, operation, request_hash, at)
VALUES (@cause_id, @key, @operation, @hash, @at)
ON CONFLICT (cause_id) DO NOTHING`

const selectRequestSQL = `
SELECT request_hash, at
FROM stock_request
WHERE cause_id = @cause_id`

// claimRequest says whether this is the first time that the key is seen. Another request under a used key is a Fault.
func claimRequest(ctx context.Context, tx pgx.Tx, r request, hash []byte, cause Cause) (first bool, err error) {
	tag, err := tx.Exec(ctx, claimRequestSQL, pgx.StrictNamedArgs{
		"cause_id": cause.CauseID, "key": r.key, "operation": r.kind, "hash": hash, "at": cause.At,
	})
	if err != nil {
		return false, fmt.Errorf("claiming an idempotency key: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return true, nil
	}
	var stored []byte
	var at time.Time
	args := pgx.StrictNamedArgs{"cause_id": cause.CauseID}
	if err := tx.QueryRow(ctx, selectRequestSQL, args).Scan(&stored, &at); err != nil {
		return false, fmt.Errorf("reading a used idempotency key: %w", err)
	}
	if !bytes.Equal(stored, hash) {
		return false, &Fault{CodeIdempotencyReuse, "", fmt.Sprintf(
			"this Idempotency-Key came with another request at %s; use a new key", at.UTC().Format(time.RFC3339))}
	}
	return false, nil
}

// Rows are made in lock order, because a transaction that makes the same one waits here.
const insertLevelsSQL = `
INSERT INTO stock_level (item_id, location_id)
SELECT u.item_id, u.location_id
FROM unnest(@items::uuid[], @locations::uuid[]) AS u (item_id, location_id)
ORDER BY u.item_id, u.location_id
ON CONFLICT DO NOTHING`

// ensureLevels makes the levels that are not there yet, empty.
func ensureLevels(ctx context.Context, tx pgx.Tx, keys []LevelKey) error {
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, compareKeys)
	sorted = slices.Compact(sorted)
	items, locations := make([]uuid.UUID, len(sorted)), make([]uuid.UUID, len(sorted))
	for i, k := range sorted {
		items[i], locations[i] = k.ItemID, k.LocationID
	}
	args := pgx.StrictNamedArgs{"items": items, "locations": locations}
	if _, err := tx.Exec(ctx, insertLevelsSQL, args); err != nil {
		return fmt.Errorf("making stock levels: %w", err)
	}
	return nil
}

const selectBookedSQL = `
SELECT
    i.sku,
    c.code AS location,
    m.item_id,
    m.location_id,
    m.version,
    m.kind,
    m.d_on_hand,
    m.d_reserved,
    m.d_unavailable,
    m.on_hand,
    m.reserved,
    m.unavailable,
    m.cause_id,
    m.reason,
    m.actor,
    m.at
FROM movement m
JOIN item i ON i.item_id = m.item_id
JOIN location c ON c.location_id = m.location_id
WHERE m.cause_id = @cause_id
ORDER BY i.sku, c.code, m.version`

const selectShortagesSQL = `
SELECT DISTINCT
    i.sku,
    c.code AS location,
    l.on_hand,
    l.reserved,
    l.unavailable,
    l.available,
    l.backorder_limit,
    l.shortage,
    l.version
FROM movement m
JOIN stock_level l ON l.item_id = m.item_id AND l.location_id = m.location_id
JOIN item i ON i.item_id = l.item_id
JOIN location c ON c.location_id = l.location_id
WHERE m.cause_id = @cause_id AND l.shortage > 0
ORDER BY i.sku, c.code`

// selectBooking reads what a request moved.
func selectBooking(ctx context.Context, tx pgx.Tx, cause uuid.UUID) (Booking, error) {
	booking := Booking{CauseID: cause}
	args := pgx.StrictNamedArgs{"cause_id": cause}
	rows, err := tx.Query(ctx, selectBookedSQL, args)
	if err != nil {
		return Booking{}, fmt.Errorf("reading what was booked: %w", err)
	}
	if booking.Movements, err = pgx.CollectRows(rows, pgx.RowToStructByName[MovementRow]); err != nil {
		return Booking{}, fmt.Errorf("reading what was booked: %w", err)
	}
	if rows, err = tx.Query(ctx, selectShortagesSQL, args); err != nil {
		return Booking{}, fmt.Errorf("reading shortages: %w", err)
	}
	if booking.Shortages, err = pgx.CollectRows(rows, pgx.RowToStructByName[LevelRow]); err != nil {
		return Booking{}, fmt.Errorf("reading shortages: %w", err)
	}
	return booking, nil
}
