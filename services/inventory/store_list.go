package inventory

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

// The SQL of lists. Pages are cut by the last key of the page before, never by an offset, and a limit of one more than
// asked for tells whether there is a next page.

// list runs a query that returns rows of T.
func list[T any](ctx context.Context, db pg.Batcher, what, sql string, args pgx.StrictNamedArgs) ([]T, error) {
	collected, err := pg.Collect(ctx, db, pgx.RowToStructByName[T], sql, args)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", what, err)
	}
	return collected, nil
}

const listItemsSQL = `
SELECT item_id, sku, coalesce(gtin, '') AS gtin, tracked, created_at
FROM item
WHERE sku > @after
ORDER BY sku
LIMIT @limit`

const listLocationsSQL = `
SELECT location_id, code, country, active, priority, created_at
FROM location
WHERE code > @after
ORDER BY code
LIMIT @limit`

// LevelRow is a level as people read it.
type LevelRow struct {
	SKU            SKU
	Location       string
	OnHand         int64
	Reserved       int64
	Unavailable    int64
	Available      int64
	BackorderLimit int64
	Shortage       int64
	Version        int64
}

const listLevelsSQL = `
SELECT
    i.sku,
    c.code AS location,
    l.on_hand,
    l.reserved,
    l.unavailable,
    l.available,
    l.backorder_limit,
    l.shortage,
    l.version
FROM stock_level l
JOIN item i ON i.item_id = l.item_id
JOIN location c ON c.location_id = l.location_id
WHERE (@sku::text IS NULL OR i.sku = @sku)
    AND (@location::text IS NULL OR c.code = @location)
    AND (i.sku, c.code) > (@after_sku::text, @after_location::text)
ORDER BY i.sku, c.code
LIMIT @limit`

// MovementRow is a movement as people read it. The ids make the cursor.
type MovementRow struct {
	SKU          SKU
	Location     string
	ItemID       uuid.UUID
	LocationID   uuid.UUID
	Version      int64
	Kind         Kind
	DOnHand      int64
	DReserved    int64
	DUnavailable int64
	OnHand       int64
	Reserved     int64
	Unavailable  int64
	CauseID      uuid.UUID
	Reason       string
	Actor        string
	At           time.Time
}

const listMovementsSQL = `
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
WHERE (@sku::text IS NULL OR i.sku = @sku)
    AND (@location::text IS NULL OR c.code = @location)
    AND (@cause_id::uuid IS NULL OR m.cause_id = @cause_id)
    AND m.version > @after_version
    AND (m.item_id, m.location_id, m.version) > (@cursor_item::uuid, @cursor_location::uuid, @cursor_version::bigint)
ORDER BY m.item_id, m.location_id, m.version
LIMIT @limit`

const listReservationsSQL = `
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
WHERE (@order_id::uuid IS NULL OR order_id = @order_id)
    AND (@state::text IS NULL OR state = @state)
    AND (@before::uuid IS NULL OR reservation_id < @before)
ORDER BY reservation_id DESC
LIMIT @limit`

const selectReservationSQL = `
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
WHERE reservation_id = @reservation_id`

// LineRow is a reservation line as people read it.
type LineRow struct {
	ReservationID uuid.UUID
	OrderLineID   string
	SKU           SKU
	Location      string
	Qty           int64
	Shipped       int64
	Released      int64
	Open          int64
}

const listLinesSQL = `
SELECT l.reservation_id, l.order_line_id, i.sku, c.code AS location, l.qty, l.shipped, l.released, l.open
FROM reservation_line l
JOIN item i ON i.item_id = l.item_id
JOIN location c ON c.location_id = l.location_id
WHERE l.reservation_id = ANY(@reservations::uuid[])
ORDER BY l.reservation_id, l.order_line_id, c.code`

// TotalRow is what the three sides say about one SKU.
type TotalRow struct {
	SKU SKU

	LevelOnHand      int64
	LevelReserved    int64
	LevelUnavailable int64
	LevelAvailable   int64
	LevelShortage    int64

	Received     int64
	Returned     int64
	Adjusted     int64
	Transferred  int64
	ShippedEver  int64
	ReservedEver int64
	ReleasedEver int64
	ExpiredEver  int64

	LedgerOnHand      int64
	LedgerReserved    int64
	LedgerUnavailable int64

	Held      int64
	Committed int64
	Shipped   int64
	Released  int64
}

// Agree says whether the three sides are one: the levels are the sums of their movements, what is reserved is what live
// reservations have open, and what left is what reservations say has left.
func (r TotalRow) Agree() bool {
	return r.LevelOnHand == r.LedgerOnHand &&
		r.LevelReserved == r.LedgerReserved &&
		r.LevelUnavailable == r.LedgerUnavailable &&
		r.LevelReserved == r.Held+r.Committed &&
		r.ShippedEver == r.Shipped &&
		r.ReleasedEver+r.ExpiredEver == r.Released
}

const listTotalsSQL = `
WITH page AS (
    SELECT item_id, sku
    FROM item
    WHERE sku > @after AND (@sku::text IS NULL OR sku = @sku)
    ORDER BY sku
    LIMIT @limit
), level AS (
    SELECT
        item_id,
        sum(on_hand)     AS on_hand,
        sum(reserved)    AS reserved,
        sum(unavailable) AS unavailable,
        sum(available)   AS available,
        sum(shortage)    AS shortage
    FROM stock_level
    WHERE item_id IN (SELECT item_id FROM page)
    GROUP BY item_id
), ledger AS (
    SELECT
        item_id,
        sum(d_on_hand)     FILTER (WHERE kind = 'receive')  AS received,
        sum(d_on_hand)     FILTER (WHERE kind = 'return')   AS returned,
        sum(d_on_hand)     FILTER (WHERE kind = 'adjust')   AS adjusted,
        sum(d_on_hand)     FILTER (WHERE kind = 'transfer') AS transferred,
        -sum(d_on_hand)    FILTER (WHERE kind = 'ship')     AS shipped,
        sum(d_reserved)    FILTER (WHERE kind = 'reserve')  AS reserved_ever,
        -sum(d_reserved)   FILTER (WHERE kind = 'release')  AS released_ever,
        -sum(d_reserved)   FILTER (WHERE kind = 'expire')   AS expired_ever,
        sum(d_on_hand)     AS on_hand,
        sum(d_reserved)    AS reserved,
        sum(d_unavailable) AS unavailable
    FROM movement
    WHERE item_id IN (SELECT item_id FROM page)
    GROUP BY item_id
), promise AS (
    SELECT
        l.item_id,
        sum(l.open)     FILTER (WHERE r.state = 'held')      AS held,
        sum(l.open)     FILTER (WHERE r.state = 'committed') AS committed,
        sum(l.shipped)  AS shipped,
        sum(l.released) AS released
    FROM reservation_line l
    JOIN reservation r ON r.reservation_id = l.reservation_id
    WHERE l.item_id IN (SELECT item_id FROM page)
    GROUP BY l.item_id
)
SELECT
    page.sku,
    coalesce(level.on_hand, 0)::bigint        AS level_on_hand,
    coalesce(level.reserved, 0)::bigint       AS level_reserved,
    coalesce(level.unavailable, 0)::bigint    AS level_unavailable,
    coalesce(level.available, 0)::bigint      AS level_available,
    coalesce(level.shortage, 0)::bigint       AS level_shortage,
    coalesce(ledger.received, 0)::bigint      AS received,
    coalesce(ledger.returned, 0)::bigint      AS returned,
    coalesce(ledger.adjusted, 0)::bigint      AS adjusted,
    coalesce(ledger.transferred, 0)::bigint   AS transferred,
    coalesce(ledger.shipped, 0)::bigint       AS shipped_ever,
    coalesce(ledger.reserved_ever, 0)::bigint AS reserved_ever,
    coalesce(ledger.released_ever, 0)::bigint AS released_ever,
    coalesce(ledger.expired_ever, 0)::bigint  AS expired_ever,
    coalesce(ledger.on_hand, 0)::bigint       AS ledger_on_hand,
    coalesce(ledger.reserved, 0)::bigint      AS ledger_reserved,
    coalesce(ledger.unavailable, 0)::bigint   AS ledger_unavailable,
    coalesce(promise.held, 0)::bigint         AS held,
    coalesce(promise.committed, 0)::bigint    AS committed,
    coalesce(promise.shipped, 0)::bigint      AS shipped,
    coalesce(promise.released, 0)::bigint     AS released
FROM page
LEFT JOIN level ON level.item_id = page.item_id
LEFT JOIN ledger ON ledger.item_id = page.item_id
LEFT JOIN promise ON promise.item_id = page.item_id
ORDER BY page.sku`

// listTotals reads all three sides in one statement, which is one snapshot.
func listTotals(ctx context.Context, pool *pgxpool.Pool, sku *string, after SKU, limit int) ([]TotalRow, error) {
	return list[TotalRow](ctx, pool, "totals", listTotalsSQL,
		pgx.StrictNamedArgs{"sku": sku, "after": after, "limit": limit})
}

// ReservationRow is a reservation with its lines as people read them.
type ReservationRow struct {
	Reservation
	Lines []LineRow
}

// listReservations reads a page of reservations and, with a second statement, all their lines.
func listReservations(
	ctx context.Context, pool *pgxpool.Pool, sql string, args pgx.StrictNamedArgs,
) ([]ReservationRow, error) {
	var found []ReservationRow
	// One snapshot, or a reservation could be seen as held and its lines as gone.
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		reservations, err := list[Reservation](ctx, tx, "reservations", sql, args)
		if err != nil || len(reservations) == 0 {
			return err
		}
		ids := make([]uuid.UUID, len(reservations))
		found = make([]ReservationRow, len(reservations))
		at := make(map[uuid.UUID]int, len(reservations))
		for i, r := range reservations {
			ids[i], found[i], at[r.ReservationID] = r.ReservationID, ReservationRow{Reservation: r}, i
		}
		lines, err := list[LineRow](ctx, tx, "reservation lines", listLinesSQL, pgx.StrictNamedArgs{"reservations": ids})
		if err != nil {
			return err
		}
		for _, l := range lines {
			row := &found[at[l.ReservationID]]
			row.Lines = append(row.Lines, l)
		}
		return nil
	})
	return found, err
}
