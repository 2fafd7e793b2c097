package inventory

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// BookRow is one SKU of a reservation, by its lines and by its movements; a reservation without either has one row
// without a SKU.
type BookRow struct {
	OrderID       uuid.UUID
	ReservationID uuid.UUID
	State         State
	SKU           *SKU
	Open          int64
	Shipped       int64
	LedgerOpen    int64
	LedgerShipped int64
}

// All reservations of the last order come with it, so that the order's id alone says where the next page begins.
const booksSQL = `
WITH page AS (
    SELECT order_id, reservation_id, state
    FROM reservation
    WHERE order_id > @after AND order_id <= @upto
    ORDER BY order_id
    FETCH FIRST @limit ROWS WITH TIES
), line AS (
    SELECT l.reservation_id, l.item_id, sum(l.open) AS open, sum(l.shipped) AS shipped
    FROM page
    JOIN reservation_line l ON l.reservation_id = page.reservation_id
    GROUP BY l.reservation_id, l.item_id
), ledger AS (
    SELECT
        m.cause_id        AS reservation_id,
        m.item_id,
        sum(m.d_reserved) AS open,
        -sum(m.d_on_hand) AS shipped
    FROM page
    JOIN movement m ON m.cause_id = page.reservation_id
    GROUP BY m.cause_id, m.item_id
)
SELECT
    page.order_id,
    page.reservation_id,
    page.state,
    i.sku,
    coalesce(line.open, 0)::bigint      AS open,
    coalesce(line.shipped, 0)::bigint   AS shipped,
    coalesce(ledger.open, 0)::bigint    AS ledger_open,
    coalesce(ledger.shipped, 0)::bigint AS ledger_shipped
FROM page
LEFT JOIN (line FULL JOIN ledger USING (reservation_id, item_id)) USING (reservation_id)
LEFT JOIN item i USING (item_id)
ORDER BY page.order_id, page.reservation_id, i.sku`

// ListBooks shows every reservation beside its movements, by order. A page counts reservations, not their rows.
func (a *API) ListBooks(
	ctx context.Context, r inventoryapi.ListBooksRequestObject,
) (inventoryapi.ListBooksResponseObject, error) {
	after, upto := uuid.Nil, uuid.Max
	if id := r.Params.AfterOrder; id != nil {
		after = *id
	}
	if id := r.Params.ToOrder; id != nil {
		upto = *id
	}
	limit := limitOf(r.Params.Limit)
	// One statement, so that lines and movements are of one snapshot.
	rows, err := list[BookRow](ctx, a.pool, "books", booksSQL,
		pgx.StrictNamedArgs{"after": after, "upto": upto, "limit": limit})
	if err != nil {
		return nil, err
	}
	answer := inventoryapi.ListBooks200JSONResponse{Entries: []inventoryapi.BookEntry{}}
	for _, b := range rows {
		n := len(answer.Entries)
		if n == 0 || answer.Entries[n-1].ReservationID != b.ReservationID {
			answer.Entries = append(answer.Entries, inventoryapi.BookEntry{
				OrderID: b.OrderID, ReservationID: b.ReservationID, State: inventoryapi.ReservationState(b.State),
				Skus: []inventoryapi.BookSku{},
			})
			n++
		}
		if b.SKU != nil {
			e := &answer.Entries[n-1]
			e.Skus = append(e.Skus, inventoryapi.BookSku{
				Sku: string(*b.SKU), Open: b.Open, Shipped: b.Shipped, LedgerOpen: b.LedgerOpen, LedgerShipped: b.LedgerShipped,
			})
		}
	}
	if n := len(answer.Entries); n >= limit {
		answer.NextAfter = &answer.Entries[n-1].OrderID
	}
	return answer, nil
}
