package coordinator

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/saga"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

const booksSQL = `
SELECT
    d.order_id,
    d.body,
    d.created_at,
    s.status
FROM order_document AS d
JOIN saga AS s ON s.id = d.saga_id
WHERE d.order_id > $1
ORDER BY d.order_id
LIMIT $2`

// books reads orders with their lines, oldest first.
func (r *reader) books(ctx context.Context, after uuid.UUID, limit int) ([]coordinatorapi.BookEntry, error) {
	rows, err := r.pool.Query(ctx, booksSQL, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the books: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (coordinatorapi.BookEntry, error) {
		var (
			e      coordinatorapi.BookEntry
			body   []byte
			o      orderv1.Order
			status saga.Status
		)
		if err := row.Scan(&e.OrderID, &body, &e.CreatedAt, &status); err != nil {
			return e, err
		}
		if err := proto.Unmarshal(body, &o); err != nil {
			return e, err
		}
		e.Status, e.CreatedAt = coordinatorapi.OrderStatus(status.String()), e.CreatedAt.UTC()
		e.Currency, e.TotalMinor = o.GetCurrency(), o.GetTotalMinor()
		e.Lines = make([]coordinatorapi.BookLine, 0, len(o.GetLines()))
		for _, l := range o.GetLines() {
			e.Lines = append(e.Lines, coordinatorapi.BookLine{Sku: l.GetSku(), Quantity: l.GetQuantity()})
		}
		return e, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the books: %w", err)
	}
	return list, nil
}

// ListBooks is GET /v1/books.
func (a *api) ListBooks(
	ctx context.Context, request coordinatorapi.ListBooksRequestObject,
) (coordinatorapi.ListBooksResponseObject, error) {
	n := limit(request.Params.Limit)
	entries, err := a.reader.books(ctx, value(request.Params.AfterOrder), n)
	if err != nil {
		return nil, err
	}
	page := coordinatorapi.ListBooks200JSONResponse{Entries: []coordinatorapi.BookEntry{}}
	page.Entries = append(page.Entries, entries...)
	if len(entries) == n {
		page.NextAfter = &entries[n-1].OrderID
	}
	return page, nil
}
