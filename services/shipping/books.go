package shipping

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// bookRow is what an auditor reads of a shipment.
type bookRow struct {
	OrderID      uuid.UUID
	ShipmentID   uuid.UUID
	State        string
	LabelsBought int64
	LabelsLive   int64
}

// All shipments of the last order come with it, so that the order's id alone says where the next page begins.
const booksSQL = `
WITH page AS (
    SELECT order_id, shipment_id, state
    FROM shipment
    WHERE order_id > $1 AND order_id <= $2
    ORDER BY order_id
    FETCH FIRST $3 ROWS WITH TIES
)
SELECT page.order_id, page.shipment_id, page.state, l.bought AS labels_bought, l.bought - l.voided AS labels_live
FROM page
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE l.state IN ('purchased', 'void_requested', 'void_rejected', 'voided')) AS bought,
           count(*) FILTER (WHERE l.state = 'voided') AS voided
    FROM package p
    JOIN label l ON l.package_id = p.package_id
    WHERE p.shipment_id = page.shipment_id
) l
ORDER BY page.order_id, page.shipment_id`

func readBooks(ctx context.Context, pool *pgxpool.Pool, after, upto uuid.UUID, limit int) ([]bookRow, error) {
	rows, err := pg.Collect(ctx, pool, pgx.RowToStructByName[bookRow], booksSQL, after, upto, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the books: %w", err)
	}
	return rows, nil
}

// ListBooks answers GET /v1/books.
func (r *routes) ListBooks(
	ctx context.Context, request shippingapi.ListBooksRequestObject,
) (shippingapi.ListBooksResponseObject, error) {
	after, upto, limit := uuid.Nil, uuid.Max, defaultLimit
	if id := request.Params.AfterOrder; id != nil {
		after = *id
	}
	if id := request.Params.ToOrder; id != nil {
		upto = *id
	}
	if n := request.Params.Limit; n != nil {
		limit = *n
	}
	rows, err := readBooks(ctx, r.pool, after, upto, limit)
	if err != nil {
		return nil, err
	}
	answer := shippingapi.ListBooks200JSONResponse{Entries: make([]shippingapi.BookEntry, 0, len(rows))}
	for _, b := range rows {
		answer.Entries = append(answer.Entries, shippingapi.BookEntry{
			OrderID: b.OrderID, ShipmentID: b.ShipmentID, State: shippingapi.ShipmentState(b.State),
			LabelsBought: b.LabelsBought, LabelsLive: b.LabelsLive,
		})
	}
	if len(rows) >= limit {
		answer.NextAfter = &rows[len(rows)-1].OrderID
	}
	return answer, nil
}
