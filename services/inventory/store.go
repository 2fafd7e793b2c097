package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The SQL of the commands and the sweeper. All of it takes a whole batch, and the number of statements does not depend
// on how long that is. Locks are taken in one order everywhere: reservation rows by id, then levels by (item,
// location), then inserts.

const selectItemsSQL = `
SELECT item_id, sku, coalesce(gtin, '') AS gtin, tracked, created_at
FROM item
WHERE sku = ANY(@skus::text[])`

// itemsBySKU reads the catalogue; what is not in it is not in the map.
func itemsBySKU(ctx context.Context, tx pgx.Tx, skus []SKU) (map[SKU]Item, error) {
	skus = slices.Clone(skus)
	slices.Sort(skus)
	skus = slices.Compact(skus)
	rows, err := tx.Query(ctx, selectItemsSQL, pgx.StrictNamedArgs{"skus": skus})
	if err != nil {
		return nil, fmt.Errorf("reading items: %w", err)
	}
	items, err := pgx.CollectRows(rows, pgx.RowToStructByName[Item])
	if err != nil {
		return nil, fmt.Errorf("reading items: %w", err)
	}
	bySKU := make(map[SKU]Item, len(items))
	for _, item := range items {
		bySKU[item.SKU] = item
	}
	return bySKU, nil
}

const selectLiveSQL = `
SELECT order_id
FROM reservation
WHERE order_id = ANY(@orders::uuid[]) AND purpose = @purpose AND state IN ('held', 'committed')`

// liveOrders says which orders hold stock already. It locks nothing: two commands of one order come by the same
// partition, and should two workers hold it for a moment, the index reservation_live refuses the second.
func liveOrders(ctx context.Context, tx pgx.Tx, orders []uuid.UUID) (map[uuid.UUID]bool, error) {
	rows, err := tx.Query(ctx, selectLiveSQL, pgx.StrictNamedArgs{"orders": orders, "purpose": purposeOrder})
	if err != nil {
		return nil, fmt.Errorf("reading live reservations: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading live reservations: %w", err)
	}
	live := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		live[id] = true
	}
	return live, nil
}

// The lock is NO KEY UPDATE, so that the foreign keys of others' lines need not wait for it.
const lockLevelsSQL = `
SELECT
    l.item_id,
    l.location_id,
    l.on_hand,
    l.reserved,
    l.unavailable,
    l.backorder_limit,
    l.shortage,
    l.version,
    c.code,
    c.country,
    c.active,
    c.priority
FROM stock_level l
JOIN location c ON c.location_id = l.location_id
WHERE (l.item_id, l.location_id) IN (
    SELECT k.item_id, k.location_id
    FROM unnest(@key_items::uuid[], @key_locations::uuid[]) AS k (item_id, location_id)
    UNION
    SELECT s.item_id, s.location_id
    FROM stock_level s
    WHERE s.item_id = ANY(@items::uuid[]))
ORDER BY l.item_id, l.location_id
FOR NO KEY UPDATE OF l`

// lockStock locks every level of the items and the levels of the keys, in one statement and one order.
func lockStock(ctx context.Context, tx pgx.Tx, items []uuid.UUID, keys []LevelKey) (*Stock, error) {
	if len(items) == 0 && len(keys) == 0 {
		return NewStock(nil), nil
	}
	keyItems, keyLocations := make([]uuid.UUID, len(keys)), make([]uuid.UUID, len(keys))
	for i, key := range keys {
		keyItems[i], keyLocations[i] = key.ItemID, key.LocationID
	}
	rows, err := tx.Query(ctx, lockLevelsSQL, pgx.StrictNamedArgs{
		"items": items, "key_items": keyItems, "key_locations": keyLocations,
	})
	if err != nil {
		return nil, fmt.Errorf("locking stock levels: %w", err)
	}
	shelves, err := pgx.CollectRows(rows, pgx.RowToStructByName[Shelf])
	if err != nil {
		return nil, fmt.Errorf("locking stock levels: %w", err)
	}
	return NewStock(shelves), nil
}

const lockReservationsSQL = `
SELECT
    reservation_id,
    order_id,
    saga_id,
    purpose,
    state,
    ship_to_country,
    expires_at,
    created_at,
    decided_at,
    decided_by,
    reason
FROM reservation
WHERE order_id = ANY(@orders::uuid[]) AND purpose = @purpose
ORDER BY reservation_id
FOR UPDATE`

// The sweeper waits for nobody: a reservation that a command has in hand is not its business now.
const lockExpiredSQL = `
SELECT
    reservation_id,
    order_id,
    saga_id,
    purpose,
    state,
    ship_to_country,
    expires_at,
    created_at,
    decided_at,
    decided_by,
    reason
FROM reservation
WHERE state = 'held' AND expires_at <= @now
ORDER BY expires_at
LIMIT @max
FOR UPDATE SKIP LOCKED`

const selectHeldLinesSQL = `
SELECT l.reservation_id, l.order_line_id, l.item_id, l.location_id, i.sku, l.qty, l.shipped, l.released
FROM reservation_line l
JOIN item i ON i.item_id = l.item_id
WHERE l.reservation_id = ANY(@reservations::uuid[])
ORDER BY l.reservation_id, l.order_line_id, l.location_id`

// lockHoldings locks the reservations of the orders and reads their lines, oldest reservation first.
func lockHoldings(ctx context.Context, tx pgx.Tx, orders []uuid.UUID) ([]*Holding, error) {
	return collectHoldings(ctx, tx, lockReservationsSQL,
		pgx.StrictNamedArgs{"orders": orders, "purpose": purposeOrder})
}

// lockExpired locks holds whose time is over and that nobody else has in hand.
func lockExpired(ctx context.Context, tx pgx.Tx, now time.Time, limit int) ([]*Holding, error) {
	return collectHoldings(ctx, tx, lockExpiredSQL, pgx.StrictNamedArgs{"now": now, "max": limit})
}

func collectHoldings(ctx context.Context, tx pgx.Tx, lockSQL string, args pgx.StrictNamedArgs) ([]*Holding, error) {
	rows, err := tx.Query(ctx, lockSQL, args)
	if err != nil {
		return nil, fmt.Errorf("locking reservations: %w", err)
	}
	reservations, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reservation])
	if err != nil {
		return nil, fmt.Errorf("locking reservations: %w", err)
	}
	if len(reservations) == 0 {
		return nil, nil
	}
	holdings := make([]*Holding, len(reservations))
	ids := make([]uuid.UUID, len(reservations))
	byID := make(map[uuid.UUID]*Holding, len(reservations))
	for i, r := range reservations {
		holdings[i], ids[i] = &Holding{Reservation: r}, r.ReservationID
		byID[r.ReservationID] = holdings[i]
	}
	// Read only now, under the locks: lines change with their reservation.
	rows, err = tx.Query(ctx, selectHeldLinesSQL, pgx.StrictNamedArgs{"reservations": ids})
	if err != nil {
		return nil, fmt.Errorf("reading reservation lines: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByName[Line])
	if err != nil {
		return nil, fmt.Errorf("reading reservation lines: %w", err)
	}
	for _, l := range lines {
		h := byID[l.ReservationID]
		h.Lines = append(h.Lines, l)
	}
	return holdings, nil
}

// changes is what a batch decided; save writes it.
type changes struct {
	// made are new holdings, decided are those that were there and changed.
	made    []*Holding
	decided []*Holding
	stock   *Stock
}

const insertReservationsSQL = `
INSERT INTO reservation (reservation_id, order_id, saga_id, purpose, state, ship_to_country, expires_at, created_at,
    decided_at, decided_by, reason)
SELECT * FROM unnest(
    @ids::uuid[],
    @orders::uuid[],
    @sagas::uuid[],
    @purposes::text[],
    @states::text[],
    @countries::text[],
    @expires::timestamptz[],
    @created::timestamptz[],
    @decided::timestamptz[],
    @deciders::uuid[],
    @reasons::text[])`

const updateReservationsSQL = `
UPDATE reservation r
SET state = u.state,
    decided_at = u.decided_at,
    decided_by = u.decided_by,
    reason = u.reason
FROM unnest(@ids::uuid[], @states::text[], @decided::timestamptz[], @deciders::uuid[], @reasons::text[])
    AS u (reservation_id, state, decided_at, decided_by, reason)
WHERE r.reservation_id = u.reservation_id`

const insertLinesSQL = `
INSERT INTO reservation_line (reservation_id, order_line_id, item_id, location_id, qty, shipped, released)
SELECT * FROM unnest(
    @ids::uuid[],
    @order_lines::text[],
    @items::uuid[],
    @locations::uuid[],
    @qtys::bigint[],
    @shipped::bigint[],
    @released::bigint[])`

const updateLinesSQL = `
UPDATE reservation_line l
SET shipped = u.shipped,
    released = u.released
FROM unnest(@ids::uuid[], @order_lines::text[], @locations::uuid[], @shipped::bigint[], @released::bigint[])
    AS u (reservation_id, order_line_id, location_id, shipped, released)
WHERE l.reservation_id = u.reservation_id
    AND l.order_line_id = u.order_line_id
    AND l.location_id = u.location_id
    AND (l.shipped, l.released) <> (u.shipped, u.released)`

const updateLevelsSQL = `
UPDATE stock_level l
SET on_hand = u.on_hand,
    reserved = u.reserved,
    unavailable = u.unavailable,
    shortage = u.shortage,
    version = u.version
FROM unnest(
    @items::uuid[],
    @locations::uuid[],
    @on_hand::bigint[],
    @reserved::bigint[],
    @unavailable::bigint[],
    @shortage::bigint[],
    @version::bigint[],
    @loaded::bigint[])
    AS u (item_id, location_id, on_hand, reserved, unavailable, shortage, version, loaded)
WHERE l.item_id = u.item_id AND l.location_id = u.location_id AND l.version = u.loaded`

const insertMovementsSQL = `
INSERT INTO movement (item_id, location_id, version, kind, d_on_hand, d_reserved, d_unavailable,
    on_hand, reserved, unavailable, cause_id, reason, actor, at)
SELECT * FROM unnest(
    @items::uuid[],
    @locations::uuid[],
    @versions::bigint[],
    @kinds::text[],
    @d_on_hand::bigint[],
    @d_reserved::bigint[],
    @d_unavailable::bigint[],
    @on_hand::bigint[],
    @reserved::bigint[],
    @unavailable::bigint[],
    @causes::uuid[],
    @reasons::text[],
    @actors::text[],
    @at::timestamptz[])`

// save writes what the batch decided, in one round trip: at most one statement per table and verb. Levels go before
// their movements, as the trigger movement_chain wants it.
func save(ctx context.Context, tx pgx.Tx, c changes) error {
	var b pgx.Batch
	if len(c.decided) > 0 {
		b.Queue(updateReservationsSQL, reservationArgs(c.decided, false)).Exec(wantRows("reservations", len(c.decided)))
		b.Queue(updateLinesSQL, lineArgs(c.decided, false))
	}
	if len(c.made) > 0 {
		b.Queue(insertReservationsSQL, reservationArgs(c.made, true))
		b.Queue(insertLinesSQL, lineArgs(c.made, true))
	}
	queueStock(&b, c.stock)
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("saving reservations and stock: %w", err)
	}
	return nil
}

// queueStock adds the changed levels and their movements.
func queueStock(b *pgx.Batch, stock *Stock) {
	if movements := stock.Movements(); len(movements) > 0 {
		changed := stock.Changed()
		b.Queue(updateLevelsSQL, levelArgs(changed, stock)).Exec(wantRows("stock levels", len(changed)))
		b.Queue(insertMovementsSQL, movementArgs(movements))
	}
}

// wantRows guards against a row that changed or went although it was locked; that would be a bug, not a race.
func wantRows(what string, n int) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(n) {
			return fmt.Errorf("updating %s: %d of %d rows were as locked", what, tag.RowsAffected(), n)
		}
		return nil
	}
}
