package payment

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
	paymentapi "recourse.dev/schemas/gen/api/payment"
)

// What an auditor reads: payments by order, each beside its own part of the journal.

// bookRow is an intent by itself and by the journal.
type bookRow struct {
	OrderID           uuid.UUID
	IntentID          uuid.UUID
	State             string
	Currency          string
	Authorized        int64
	Captured          int64
	Voided            int64
	Expired           int64
	Refunded          int64
	JournalAuthorized int64
	JournalCaptured   int64
	JournalVoided     int64
	JournalExpired    int64
	JournalRefunded   int64
	JournalHeld       int64
}

// All intents of the last order come with it, so that the order's id alone says where the next page begins. The journal
// is found by its transactions, which are the operations: it has no index by intent.
const booksSQL = `
WITH page AS (
	SELECT
		order_id,
		intent_id,
		state,
		currency,
		authorized,
		captured,
		voided,
		expired,
		refunded
	FROM intent
	WHERE order_id > @after AND order_id <= @upto
	ORDER BY order_id
	FETCH FIRST @limit ROWS WITH TIES
)
SELECT
	page.order_id,
	page.intent_id,
	page.state,
	page.currency,
	page.authorized,
	page.captured,
	page.voided,
	page.expired,
	page.refunded,
	booked.authorized AS journal_authorized,
	booked.captured AS journal_captured,
	booked.voided AS journal_voided,
	booked.expired AS journal_expired,
	booked.refunded AS journal_refunded,
	booked.held AS journal_held
FROM page
CROSS JOIN LATERAL (
	SELECT
		COALESCE(sum(j.amount) FILTER (WHERE j.kind = 'authorize' AND j.amount > 0), 0)::bigint AS authorized,
		COALESCE(sum(j.amount) FILTER (WHERE j.kind = 'capture' AND j.amount > 0), 0)::bigint AS captured,
		COALESCE(sum(j.amount) FILTER (WHERE j.kind = 'void' AND j.amount > 0), 0)::bigint AS voided,
		COALESCE(sum(j.amount) FILTER (WHERE j.kind = 'expire' AND j.amount > 0), 0)::bigint AS expired,
		COALESCE(sum(j.amount) FILTER (WHERE j.kind = 'refund' AND j.amount > 0), 0)::bigint AS refunded,
		COALESCE(sum(j.amount) FILTER (WHERE j.account = 'customer_hold'), 0)::bigint AS held
	FROM operation AS o
	JOIN journal AS j ON j.txn_id = o.operation_id
	WHERE o.intent_id = page.intent_id
) AS booked
ORDER BY page.order_id, page.intent_id`

func readBooks(ctx context.Context, pool *pgxpool.Pool, after, upto uuid.UUID, limit int) ([]bookRow, error) {
	rows, err := pg.Collect(ctx, pool, pgx.RowToStructByName[bookRow], booksSQL, pgx.StrictNamedArgs{
		"after": after, "upto": upto, "limit": limit,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the books: %w", err)
	}
	return rows, nil
}

// ListBooks answers GET /v1/books.
func (r *routes) ListBooks(
	ctx context.Context, request paymentapi.ListBooksRequestObject,
) (paymentapi.ListBooksResponseObject, error) {
	after, upto := uuid.Nil, uuid.Max
	if id := request.Params.AfterOrder; id != nil {
		after = *id
	}
	if id := request.Params.ToOrder; id != nil {
		upto = *id
	}
	limit := limitOf(request.Params.Limit)
	rows, err := readBooks(ctx, r.pool, after, upto, limit)
	if err != nil {
		return nil, err
	}
	answer := paymentapi.ListBooks200JSONResponse{Entries: make([]paymentapi.BookEntry, 0, len(rows))}
	for i := range rows {
		answer.Entries = append(answer.Entries, rows[i].api())
	}
	if len(rows) >= limit {
		answer.NextAfter = &rows[len(rows)-1].OrderID
	}
	return answer, nil
}

func (b *bookRow) api() paymentapi.BookEntry {
	return paymentapi.BookEntry{
		OrderID: b.OrderID, IntentID: b.IntentID, State: paymentapi.PaymentState(b.State), Currency: b.Currency,
		Intent: paymentapi.MoneyTotals{
			Authorized: b.Authorized, Captured: b.Captured, Voided: b.Voided, Expired: b.Expired, Refunded: b.Refunded,
			Held: b.Authorized - b.Captured - b.Voided - b.Expired,
		},
		Journal: paymentapi.MoneyTotals{
			Authorized: b.JournalAuthorized, Captured: b.JournalCaptured, Voided: b.JournalVoided,
			Expired: b.JournalExpired, Refunded: b.JournalRefunded, Held: b.JournalHeld,
		},
	}
}
