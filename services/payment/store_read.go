package payment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

// All reads for people: the API's pages and totals.

// errNotFound says that there is no such row.
var errNotFound = errors.New("not found")

// paymentRow is an intent as the API shows it.
type paymentRow struct {
	IntentID      uuid.UUID
	OrderID       uuid.UUID
	CustomerID    string
	Reference     string
	Currency      string
	Amount        int64
	Authorized    int64
	Captured      int64
	Voided        int64
	Expired       int64
	Refunded      int64
	State         string
	Gateway       string
	GatewayRef    *string
	CaptureBefore *time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

const paymentColumns = `
	intent_id,
	order_id,
	customer_id,
	reference,
	currency,
	amount,
	authorized,
	captured,
	voided,
	expired,
	refunded,
	state,
	gateway,
	gateway_ref,
	capture_before,
	created_at,
	updated_at`

const listPaymentsSQL = `
SELECT ` + paymentColumns + `
FROM intent
WHERE (@order_id::uuid IS NULL OR order_id = @order_id)
	AND (@state::text IS NULL OR state = @state)
	AND (@before::uuid IS NULL OR intent_id < @before)
ORDER BY intent_id DESC
LIMIT @limit`

// paymentFilter narrows a list of payments; nil is no condition.
type paymentFilter struct {
	orderID *uuid.UUID
	state   *string
	before  *uuid.UUID
	limit   int
}

// listPayments returns payments, newest first: intent ids grow with time.
func listPayments(ctx context.Context, pool *pgxpool.Pool, f paymentFilter) ([]paymentRow, error) {
	payments, err := pg.Collect(ctx, pool, pgx.RowToStructByName[paymentRow], listPaymentsSQL, pgx.StrictNamedArgs{
		"order_id": f.orderID, "state": f.state, "before": f.before, "limit": f.limit,
	})
	if err != nil {
		return nil, fmt.Errorf("listing payments: %w", err)
	}
	return payments, nil
}

// operationRow is an operation as the API shows it.
type operationRow struct {
	OperationID    uuid.UUID
	Kind           string
	Amount         int64
	State          string
	IdempotencyKey string
	GatewayRef     *string
	FailureClass   *string
	FailureCode    *string
	FailureDetail  *string
	RequestedAt    time.Time
	UnknownSince   *time.Time
	UnknownReason  *string
	NextProbeAt    *time.Time
	DecidedAt      *time.Time
}

// attemptRow is an exchange as the API shows it.
type attemptRow struct {
	OperationID      uuid.UUID
	AttemptNo        int32
	Call             string
	SentAt           time.Time
	EndedAt          *time.Time
	Outcome          *string
	HTTPStatus       *int32
	GatewayRequestID *string
	ErrorType        *string
	ErrorCode        *string
	DeclineCode      *string
}

const getPaymentSQL = `
SELECT ` + paymentColumns + `
FROM intent
WHERE intent_id = @intent_id`

const operationsOfSQL = `
SELECT
	operation_id,
	kind,
	amount,
	state,
	idempotency_key,
	gateway_ref,
	failure_class,
	failure_code,
	failure_detail,
	requested_at,
	unknown_since,
	unknown_reason,
	next_probe_at,
	decided_at
FROM operation
WHERE intent_id = @intent_id
ORDER BY requested_at, operation_id`

const attemptsOfSQL = `
SELECT
	operation_id,
	attempt_no,
	call,
	sent_at,
	ended_at,
	outcome,
	http_status,
	gateway_request_id,
	error_type,
	error_code,
	decline_code
FROM attempt
WHERE operation_id IN (SELECT operation_id FROM operation WHERE intent_id = @intent_id)
ORDER BY operation_id, attempt_no`

// paymentDetail is an intent with all that happened to it.
type paymentDetail struct {
	payment    paymentRow
	operations []operationRow
	attempts   map[uuid.UUID][]attemptRow
}

// getPayment reads one intent at one instant.
func getPayment(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) (paymentDetail, error) {
	detail := paymentDetail{attempts: make(map[uuid.UUID][]attemptRow)}
	err := snapshot(ctx, pool, func(tx pgx.Tx) error {
		args := pgx.StrictNamedArgs{"intent_id": id}
		rows, err := tx.Query(ctx, getPaymentSQL, args)
		if err != nil {
			return err
		}
		detail.payment, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[paymentRow])
		if errors.Is(err, pgx.ErrNoRows) {
			return errNotFound
		}
		if err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, operationsOfSQL, args); err != nil {
			return err
		}
		if detail.operations, err = pgx.CollectRows(rows, pgx.RowToStructByName[operationRow]); err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, attemptsOfSQL, args); err != nil {
			return err
		}
		attempts, err := pgx.CollectRows(rows, pgx.RowToStructByName[attemptRow])
		for _, a := range attempts {
			detail.attempts[a.OperationID] = append(detail.attempts[a.OperationID], a)
		}
		return err
	})
	if err != nil {
		return paymentDetail{}, fmt.Errorf("reading payment %s: %w", id, err)
	}
	return detail, nil
}

// deskRow is an operation that is not settled, as the API shows it.
type deskRow struct {
	OperationID   uuid.UUID
	IntentID      uuid.UUID
	OrderID       uuid.UUID
	Kind          string
	State         string
	Amount        int64
	Currency      string
	RequestedAt   time.Time
	Since         time.Time
	UnknownSince  *time.Time
	UnknownReason *string
	NextProbeAt   *time.Time
	Probes        int32
	AgeSeconds    int64
}

const listDeskSQL = `
SELECT
	operation_id,
	intent_id,
	order_id,
	kind,
	operation.state,
	operation.amount,
	currency,
	requested_at,
	COALESCE(unknown_since, requested_at) AS since,
	unknown_since,
	unknown_reason,
	next_probe_at,
	probes,
	GREATEST(0, extract(epoch FROM now() - COALESCE(unknown_since, requested_at)))::bigint AS age_seconds
FROM operation
JOIN intent USING (intent_id)
WHERE operation.state = @state
	AND operation.state IN ('sent', 'unknown', 'manual')
	AND operation.lost = (@state::text <> 'sent')
	AND (COALESCE(unknown_since, requested_at), operation_id) > (@after_time::timestamptz, @after_id::uuid)
ORDER BY COALESCE(unknown_since, requested_at), operation_id
LIMIT @limit`

// deskCursor is a place in the desk's order; its zero value stands before all.
type deskCursor struct {
	since time.Time
	id    uuid.UUID
}

// write is the cursor in 24 bytes; the database keeps microseconds.
func (c deskCursor) write() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(c.since.UnixMicro())), c.id[:]...)
}

func (c *deskCursor) read(raw []byte) error {
	const length = 8 + len(c.id)
	if len(raw) != length {
		return fmt.Errorf("a cursor of %d bytes, want %d", len(raw), length)
	}
	c.since = time.UnixMicro(int64(binary.BigEndian.Uint64(raw)))
	copy(c.id[:], raw[8:])
	return nil
}

// listDesk returns operations that are not settled, those first that have waited longest.
func listDesk(
	ctx context.Context, pool *pgxpool.Pool, state string, after deskCursor, limit int,
) ([]deskRow, error) {
	desk, err := pg.Collect(ctx, pool, pgx.RowToStructByName[deskRow], listDeskSQL, pgx.StrictNamedArgs{
		"state": state, "after_time": after.since, "after_id": after.id, "limit": limit,
	})
	if err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return desk, nil
}

// totalsRow is money of one currency, in minor units.
type totalsRow struct {
	Currency   string
	Authorized int64
	Captured   int64
	Voided     int64
	Expired    int64
	Refunded   int64
	Held       int64
}

const intentTotalsSQL = `
SELECT
	currency,
	sum(authorized)::bigint AS authorized,
	sum(captured)::bigint AS captured,
	sum(voided)::bigint AS voided,
	sum(expired)::bigint AS expired,
	sum(refunded)::bigint AS refunded,
	sum(authorized - captured - voided - expired)::bigint AS held
FROM intent
GROUP BY currency
ORDER BY currency`

const journalTotalsSQL = `
SELECT
	currency,
	COALESCE(sum(amount) FILTER (WHERE kind = 'authorize' AND amount > 0), 0)::bigint AS authorized,
	COALESCE(sum(amount) FILTER (WHERE kind = 'capture' AND amount > 0), 0)::bigint AS captured,
	COALESCE(sum(amount) FILTER (WHERE kind = 'void' AND amount > 0), 0)::bigint AS voided,
	COALESCE(sum(amount) FILTER (WHERE kind = 'expire' AND amount > 0), 0)::bigint AS expired,
	COALESCE(sum(amount) FILTER (WHERE kind = 'refund' AND amount > 0), 0)::bigint AS refunded,
	COALESCE(sum(amount) FILTER (WHERE account = 'customer_hold'), 0)::bigint AS held
FROM journal
GROUP BY currency
ORDER BY currency`

const inDoubtTotalsSQL = `
SELECT
	currency,
	sum(operation.amount)::bigint AS amount
FROM operation
JOIN intent USING (intent_id)
WHERE operation.state NOT IN ('succeeded', 'failed')
GROUP BY currency`

type totals struct {
	intents []totalsRow
	journal map[string]totalsRow
	inDoubt map[string]int64
}

// readTotals sums intents and journal at one instant; the two must agree.
func readTotals(ctx context.Context, pool *pgxpool.Pool) (totals, error) {
	t := totals{journal: make(map[string]totalsRow), inDoubt: make(map[string]int64)}
	err := snapshot(ctx, pool, func(tx pgx.Tx) error {
		intents, err := pg.Collect(ctx, tx, pgx.RowToStructByName[totalsRow], intentTotalsSQL)
		if err != nil {
			return err
		}
		t.intents = intents
		journal, err := pg.Collect(ctx, tx, pgx.RowToStructByName[totalsRow], journalTotalsSQL)
		if err != nil {
			return err
		}
		for _, r := range journal {
			t.journal[r.Currency] = r
		}
		rows, err := tx.Query(ctx, inDoubtTotalsSQL)
		if err != nil {
			return err
		}
		var (
			currency string
			amount   int64
		)
		_, err = pgx.ForEachRow(rows, []any{&currency, &amount}, func() error {
			t.inDoubt[currency] = amount
			return nil
		})
		return err
	})
	if err != nil {
		return totals{}, fmt.Errorf("reading totals: %w", err)
	}
	return t, nil
}

// snapshot runs reads that all see the same instant.
func snapshot(ctx context.Context, pool *pgxpool.Pool, read func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, read)
}

const findOperationsSQL = `
WITH asked AS (
	SELECT *
	FROM unnest(@refs::text[], @orders::uuid[]) WITH ORDINALITY AS asked (ref, order_id, position)
), about AS (
	SELECT position, intent_id
	FROM asked
	JOIN intent ON intent.gateway_ref = asked.ref
	UNION
	SELECT position, intent_id
	FROM asked
	JOIN intent USING (order_id)
)
SELECT
	about.position::integer - 1 AS event,
	operation.idempotency_key AS key,
	operation.kind
FROM about
LEFT JOIN operation
	ON operation.intent_id = about.intent_id AND operation.state NOT IN ('succeeded', 'failed')`

// foundOperation is an intent that the event at a place is about, with an operation of it that is not settled, if any.
type foundOperation struct {
	Event int
	Key   *string
	Kind  *string
}

// findOperations looks intents up by the provider's names or by orders, and what is open about them.
func findOperations(
	ctx context.Context, tx pgx.Tx, refs []string, orders []*uuid.UUID,
) ([]foundOperation, error) {
	rows, err := tx.Query(ctx, findOperationsSQL, pgx.StrictNamedArgs{"refs": refs, "orders": orders})
	if err != nil {
		return nil, fmt.Errorf("finding the operations of %d events: %w", len(refs), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[foundOperation])
	if err != nil {
		return nil, fmt.Errorf("finding the operations of %d events: %w", len(refs), err)
	}
	return found, nil
}
