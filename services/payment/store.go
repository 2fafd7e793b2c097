package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"recourse.dev/pkg/money"
)

// All writes. Each function is one statement, or one pipelined batch, for however many rows.

// newIntent is an authorization that is about to be asked for.
type newIntent struct {
	id         uuid.UUID
	customerID string
	reference  string
	request    Request
}

const openIntentsSQL = `
WITH asked AS (
	SELECT *
	FROM unnest(
		@intent_ids::uuid[], @order_ids::uuid[], @customer_ids::text[], @references::text[], @currencies::text[],
		@amounts::bigint[], @tokens::text[], @operation_ids::uuid[], @keys::text[], @hashes::bytea[]
	) AS asked (
		intent_id, order_id, customer_id, reference, currency,
		amount, payment_token, operation_id, idempotency_key, request_hash)
), opened AS (
	INSERT INTO intent (
		intent_id, order_id, customer_id, reference, currency, amount, state, gateway, payment_token,
		created_at, updated_at)
	SELECT intent_id, order_id, customer_id, reference, currency, amount, 'authorizing', @gateway::text, payment_token,
		@now::timestamptz, @now::timestamptz
	FROM asked
	ON CONFLICT (order_id, fulfilment_group) WHERE live DO NOTHING
	RETURNING intent_id
), requested AS (
	INSERT INTO operation (
		operation_id, intent_id, kind, amount, state, idempotency_key, request_hash, requested_at)
	SELECT operation_id, intent_id, 'authorize', amount, 'sent', idempotency_key, request_hash, @now::timestamptz
	FROM asked
	JOIN opened USING (intent_id)
	RETURNING operation_id
), attempted AS (
	INSERT INTO attempt (operation_id, attempt_no, call, sent_at)
	SELECT operation_id, attempt_no, call, @now::timestamptz
	FROM requested
	CROSS JOIN unnest(@calls::text[]) WITH ORDINALITY AS planned (call, attempt_no)
)
SELECT intent_id
FROM opened`

// openIntents writes intents with their authorize operations and the attempts that are about to be made. It returns
// the ids of those written: an order that has a live intent already gets no second one.
func openIntents(
	ctx context.Context, tx pgx.Tx, gateway string, calls []Call, intents []newIntent, now time.Time,
) (map[uuid.UUID]bool, error) {
	args := pgx.StrictNamedArgs{
		"intent_ids":    column(intents, func(i newIntent) uuid.UUID { return i.id }),
		"order_ids":     column(intents, func(i newIntent) uuid.UUID { return i.request.OrderID }),
		"customer_ids":  column(intents, func(i newIntent) string { return i.customerID }),
		"references":    column(intents, func(i newIntent) string { return i.reference }),
		"currencies":    column(intents, func(i newIntent) string { return string(i.request.Amount.Currency) }),
		"amounts":       column(intents, func(i newIntent) int64 { return i.request.Amount.Minor }),
		"tokens":        column(intents, func(i newIntent) string { return i.request.PaymentToken }),
		"operation_ids": column(intents, func(i newIntent) uuid.UUID { return i.request.OperationID }),
		"keys":          column(intents, func(i newIntent) string { return i.request.Key }),
		"hashes":        column(intents, func(i newIntent) []byte { return requestHash(i.id, i.request) }),
		"calls":         calls,
		"gateway":       gateway,
		"now":           now,
	}
	rows, err := tx.Query(ctx, openIntentsSQL, args)
	if err != nil {
		return nil, fmt.Errorf("opening %d intents: %w", len(intents), err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("opening %d intents: %w", len(intents), err)
	}
	opened := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		opened[id] = true
	}
	return opened, nil
}

const lockIntentsSQL = `
SELECT
	intent_id, order_id, state, currency, amount, authorized, captured, capture_pending, voided, expired,
	COALESCE(gateway_ref, ''), payment_token,
	(
		SELECT count(*)
		FROM operation
		WHERE operation.intent_id = intent.intent_id AND kind = 'void' AND operation.state = 'failed'
	)
FROM intent
WHERE intent_id = ANY (@intent_ids) OR order_id = ANY (@order_ids)
ORDER BY intent_id
FOR UPDATE`

// lockIntents reads intents by their own ids or by their orders', oldest first, and keeps others from changing them.
// The order in which they are locked is the same everywhere, so that two batches never wait for each other in a circle.
func lockIntents(ctx context.Context, tx pgx.Tx, intentIDs, orderIDs []uuid.UUID) ([]*Intent, error) {
	rows, err := tx.Query(ctx, lockIntentsSQL, pgx.StrictNamedArgs{"intent_ids": intentIDs, "order_ids": orderIDs})
	if err != nil {
		return nil, fmt.Errorf("locking intents: %w", err)
	}
	intents, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Intent, error) {
		var i Intent
		return &i, row.Scan(
			&i.ID, &i.OrderID, &i.State, &i.Amount.Currency, &i.Amount.Minor,
			&i.Authorized, &i.Captured, &i.CapturePending, &i.Voided, &i.Expired,
			&i.GatewayRef, &i.PaymentToken, &i.FailedVoids)
	})
	if err != nil {
		return nil, fmt.Errorf("locking intents: %w", err)
	}
	return intents, nil
}

// begun is an operation on an authorized intent that is about to be asked for.
type begun struct {
	intentID uuid.UUID
	request  Request
}

const beginOperationsSQL = `
WITH asked AS (
	SELECT *
	FROM unnest(@operation_ids::uuid[], @intent_ids::uuid[], @amounts::bigint[], @keys::text[], @hashes::bytea[])
		AS asked (operation_id, intent_id, amount, idempotency_key, request_hash)
), changed AS (
	UPDATE intent
	SET state = @state::text,
		capture_pending = intent.capture_pending + CASE WHEN @kind::text = 'capture' THEN asked.amount ELSE 0 END,
		updated_at = @now::timestamptz
	FROM asked
	WHERE intent.intent_id = asked.intent_id
), requested AS (
	INSERT INTO operation (
		operation_id, intent_id, kind, amount, state, idempotency_key, request_hash, requested_at)
	SELECT operation_id, intent_id, @kind::text, amount, 'sent', idempotency_key, request_hash, @now::timestamptz
	FROM asked
	RETURNING operation_id
)
INSERT INTO attempt (operation_id, attempt_no, call, sent_at)
SELECT operation_id, attempt_no, call, @now::timestamptz
FROM requested
CROSS JOIN unnest(@calls::text[]) WITH ORDINALITY AS planned (call, attempt_no)`

// beginOperations writes operations of one kind with the attempts that are about to be made, and takes their headroom.
func beginOperations(
	ctx context.Context, tx pgx.Tx, kind Kind, state IntentState, calls []Call, operations []begun, now time.Time,
) error {
	_, err := tx.Exec(ctx, beginOperationsSQL, pgx.StrictNamedArgs{
		"operation_ids": column(operations, func(o begun) uuid.UUID { return o.request.OperationID }),
		"intent_ids":    column(operations, func(o begun) uuid.UUID { return o.intentID }),
		"amounts":       column(operations, func(o begun) int64 { return o.request.Amount.Minor }),
		"keys":          column(operations, func(o begun) string { return o.request.Key }),
		"hashes":        column(operations, func(o begun) []byte { return requestHash(o.intentID, o.request) }),
		"calls":         calls,
		"kind":          kind,
		"state":         state,
		"now":           now,
	})
	if err != nil {
		return fmt.Errorf("beginning %d operations of kind %s: %w", len(operations), kind, err)
	}
	return nil
}

const openOperationSQL = `
SELECT
	operation_id, kind, idempotency_key, operation.amount, requested_at,
	order_id, currency, payment_token, COALESCE(intent.gateway_ref, ''),
	(SELECT COALESCE(max(attempt_no), 0) FROM attempt WHERE attempt.operation_id = operation.operation_id)
FROM operation
JOIN intent USING (intent_id)
WHERE (idempotency_key = @key OR (kind = @kind::text AND intent_id = @intent_id))
	AND operation.state NOT IN ('succeeded', 'failed')`

// openOperation is what a probe needs to know about an operation that is not settled.
type openOperation struct {
	request     Request
	requestedAt time.Time
	lastAttempt int
}

// errNoOpenOperation says that nothing is in doubt under a key.
var errNoOpenOperation = errors.New("no open operation")

// loadOpenOperation finds an operation by its key or, for kinds of which an intent has one live operation at most, by
// its intent and kind.
func loadOpenOperation(ctx context.Context, db querier, q question) (openOperation, error) {
	args := pgx.StrictNamedArgs{"key": q.key, "intent_id": q.intentID, "kind": q.kind}
	var o openOperation
	r := &o.request
	err := db.QueryRow(ctx, openOperationSQL, args).Scan(
		&r.OperationID, &r.Kind, &r.Key, &r.Amount.Minor, &o.requestedAt,
		&r.OrderID, &r.Amount.Currency, &r.PaymentToken, &r.IntentRef, &o.lastAttempt)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, fmt.Errorf("loading operation %s: %w", q.key, errNoOpenOperation)
	}
	if err != nil {
		return o, fmt.Errorf("loading operation %s: %w", q.key, err)
	}
	return o, nil
}

const planAttemptsSQL = `
INSERT INTO attempt (operation_id, attempt_no, call, sent_at)
SELECT @operation_id, @first::integer + attempt_no - 1, call, @now::timestamptz
FROM unnest(@calls::text[]) WITH ORDINALITY AS planned (call, attempt_no)`

// planAttempts writes down requests that are about to be sent again.
func planAttempts(
	ctx context.Context, db execer, operationID uuid.UUID, first int, calls []Call, now time.Time,
) error {
	_, err := db.Exec(ctx, planAttemptsSQL, pgx.StrictNamedArgs{
		"operation_id": operationID, "first": first, "calls": calls, "now": now,
	})
	if err != nil {
		return fmt.Errorf("planning attempts of operation %s: %w", operationID, err)
	}
	return nil
}

const lockOperationsSQL = `
SELECT
	operation_id, intent_id, kind, operation.state, operation.amount, currency, requested_at,
	COALESCE(operation.gateway_ref, ''), COALESCE(failure_class, ''), COALESCE(failure_code, ''),
	COALESCE(failure_detail, '')
FROM operation
JOIN intent USING (intent_id)
WHERE operation_id = ANY (@operation_ids)
ORDER BY intent_id, operation_id
FOR UPDATE`

// lockedOperation is an operation that is about to be settled, with what is recorded about it.
type lockedOperation struct {
	id          uuid.UUID
	intentID    uuid.UUID
	kind        Kind
	state       OperationState
	amount      money.Money
	requestedAt time.Time
	gatewayRef  string
	failure     Refused
}

func lockOperations(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]lockedOperation, error) {
	rows, err := tx.Query(ctx, lockOperationsSQL, pgx.StrictNamedArgs{"operation_ids": ids})
	if err != nil {
		return nil, fmt.Errorf("locking operations: %w", err)
	}
	operations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (lockedOperation, error) {
		var o lockedOperation
		return o, row.Scan(
			&o.id, &o.intentID, &o.kind, &o.state, &o.amount.Minor, &o.amount.Currency, &o.requestedAt,
			&o.gatewayRef, &o.failure.Class, &o.failure.Code, &o.failure.Detail)
	})
	if err != nil {
		return nil, fmt.Errorf("locking operations: %w", err)
	}
	byID := make(map[uuid.UUID]lockedOperation, len(operations))
	for _, o := range operations {
		byID[o.id] = o
	}
	return byID, nil
}

// column takes one field of every row, for unnest.
func column[R, F any](rows []R, field func(R) F) []F {
	fields := make([]F, len(rows))
	for i, r := range rows {
		fields[i] = field(r)
	}
	return fields
}

// orNull is nil for a zero value.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}
