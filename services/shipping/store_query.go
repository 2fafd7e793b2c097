package shipping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

// What the API reads.

// errNotFound says that there is no shipment of that id.
var errNotFound = errors.New("shipment not found")

// filter narrows a list. Zero values mean any.
type filter struct {
	OrderID *uuid.UUID
	State   *string
	// Before is the last id of the page before.
	Before *uuid.UUID
	Limit  int
}

// summary is a row of a list.
type summary struct {
	ShipmentID     uuid.UUID
	OrderID        uuid.UUID
	Reference      string
	State          string
	Country        string
	Carrier        *string
	TrackingNumber *string
	RefusalCode    *string
	RefusalDetail  string
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

const listShipmentsSQL = `
SELECT s.shipment_id, s.order_id, s.reference, s.state, s.country, s.carrier, l.tracking_number,
       s.refusal_code, s.refusal_detail, s.created_at, s.updated_at
FROM shipment s
LEFT JOIN LATERAL (
    SELECT l.tracking_number
    FROM package p
    JOIN label l ON l.package_id = p.package_id
    WHERE p.shipment_id = s.shipment_id
    ORDER BY l.label_id DESC
    LIMIT 1
) l ON true
WHERE ($1::uuid IS NULL OR s.order_id = $1)
  AND ($2::text IS NULL OR s.state = $2)
  AND ($3::uuid IS NULL OR s.shipment_id < $3)
ORDER BY s.shipment_id DESC
LIMIT $4`

func listShipments(ctx context.Context, pool *pgxpool.Pool, f filter) ([]summary, error) {
	found, err := pg.Collect(ctx, pool, pgx.RowToStructByName[summary], listShipmentsSQL,
		f.OrderID, f.State, f.Before, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("listing shipments: %w", err)
	}
	return found, nil
}

// record is a shipment with all that hangs on it.
type record struct {
	ShipmentID    uuid.UUID
	OrderID       uuid.UUID
	SagaID        uuid.UUID
	Reference     string
	State         string
	Name          string
	Street        string
	City          string
	Region        string
	PostalCode    string
	Country       string
	Carrier       *string
	RefusalCode   *string
	RefusalDetail string
	CreatedAt     time.Time
	UpdatedAt     time.Time

	Items      []itemRecord      `db:"-"`
	Labels     []labelRecord     `db:"-"`
	Operations []operationRecord `db:"-"`
	Attempts   []attemptRecord   `db:"-"`
}

type itemRecord struct {
	LineID   string
	SKU      string
	Quantity int64
}

// labelRecord is a label with its package; a package without a label does not exist.
type labelRecord struct {
	PackageID      uuid.UUID
	Seq            int32
	WeightG        int64
	LabelID        uuid.UUID
	State          string
	CarrierRef     *string
	TrackingNumber *string
	CostMinor      *int64
	Currency       *string
}

type operationRecord struct {
	OperationID  uuid.UUID
	Kind         string
	State        string
	FailureClass *string
	FailureCode  *string
	RequestedAt  time.Time
	UnknownSince *time.Time
	DecidedAt    *time.Time
}

type attemptRecord struct {
	OperationID uuid.UUID
	AttemptNo   int32
	SentAt      time.Time
	EndedAt     *time.Time
	Outcome     *string
	Detail      string
}

const getShipmentSQL = `
SELECT shipment_id, order_id, saga_id, reference, state, name, street, city, region, postal_code, country,
       carrier, refusal_code, refusal_detail, created_at, updated_at
FROM shipment
WHERE shipment_id = $1`

const getItemsSQL = `
SELECT line_id, sku, quantity
FROM shipment_item
WHERE shipment_id = $1
ORDER BY line_id`

const getLabelsSQL = `
SELECT p.package_id, p.seq, p.weight_g, l.label_id, l.state, l.carrier_ref, l.tracking_number, l.cost_minor, l.currency
FROM package p
JOIN label l ON l.package_id = p.package_id
WHERE p.shipment_id = $1
ORDER BY p.seq, l.label_id`

const getOperationsSQL = `
SELECT o.operation_id, o.kind, o.state, o.failure_class, o.failure_code, o.requested_at, o.unknown_since, o.decided_at
FROM package p
JOIN label l ON l.package_id = p.package_id
JOIN carrier_operation o ON o.label_id = l.label_id
WHERE p.shipment_id = $1
ORDER BY o.operation_id`

const getAttemptsSQL = `
SELECT a.operation_id, a.attempt_no, a.sent_at, a.ended_at, a.outcome, a.detail
FROM package p
JOIN label l ON l.package_id = p.package_id
JOIN carrier_operation o ON o.label_id = l.label_id
JOIN carrier_attempt a ON a.operation_id = o.operation_id
WHERE p.shipment_id = $1
ORDER BY a.operation_id, a.attempt_no`

// getShipment reads the shipment and what hangs on it as of one instant.
func getShipment(ctx context.Context, tx pgx.Tx, id uuid.UUID) (record, error) {
	r, err := collect[record](ctx, tx, getShipmentSQL, id)
	if err == nil && len(r) == 0 {
		err = errNotFound
	}
	if err != nil {
		return record{}, fmt.Errorf("reading shipment %s: %w", id, err)
	}
	var errs [4]error
	r[0].Items, errs[0] = collect[itemRecord](ctx, tx, getItemsSQL, id)
	r[0].Labels, errs[1] = collect[labelRecord](ctx, tx, getLabelsSQL, id)
	r[0].Operations, errs[2] = collect[operationRecord](ctx, tx, getOperationsSQL, id)
	r[0].Attempts, errs[3] = collect[attemptRecord](ctx, tx, getAttemptsSQL, id)
	if err := errors.Join(errs[:]...); err != nil {
		return record{}, fmt.Errorf("reading shipment %s: %w", id, err)
	}
	return r[0], nil
}

func collect[T any](ctx context.Context, tx pgx.Tx, sql string, id uuid.UUID) ([]T, error) {
	rows, err := tx.Query(ctx, sql, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// totals counts labels; the carrier's ledger must say the same.
type totals struct {
	Bought  int64
	Voided  int64
	InDoubt int64
}

const totalsSQL = `
SELECT count(*) FILTER (WHERE state IN ('purchased', 'void_requested', 'void_rejected', 'voided')) AS bought,
       count(*) FILTER (WHERE state = 'voided') AS voided,
       count(*) FILTER (WHERE state IN ('requested', 'unknown')) AS in_doubt
FROM label`

func countLabels(ctx context.Context, pool *pgxpool.Pool) (totals, error) {
	var t totals
	if err := pool.QueryRow(ctx, totalsSQL).Scan(&t.Bought, &t.Voided, &t.InDoubt); err != nil {
		return totals{}, fmt.Errorf("counting labels: %w", err)
	}
	return t, nil
}

const findShipmentsSQL = `
WITH asked AS (
    SELECT *
    FROM unnest(@refs::text[], @ids::uuid[]) WITH ORDINALITY AS asked (ref, shipment_id, position)
), about AS (
    SELECT position, package.shipment_id
    FROM asked
    JOIN label ON label.carrier_ref = asked.ref
    JOIN package USING (package_id)
    UNION
    SELECT position, shipment_id
    FROM asked
    JOIN shipment USING (shipment_id)
)
SELECT
    about.position::integer - 1 AS event,
    saga_id,
    step,
    generation,
    state IN ('label_requested', 'label_unknown', 'cancelling') AS open
FROM about
JOIN shipment USING (shipment_id)`

// foundShipment is a shipment that the event at a place is about.
type foundShipment struct {
	Event      int
	SagaID     uuid.UUID
	Step       string
	Generation int32
	// Open says that something was asked of the carrier that is not proven.
	Open bool
}

// findShipments looks shipments up by the carrier's names or by their own ids.
func findShipments(ctx context.Context, tx pgx.Tx, refs []string, ids []*uuid.UUID) ([]foundShipment, error) {
	rows, err := tx.Query(ctx, findShipmentsSQL, pgx.StrictNamedArgs{"refs": refs, "ids": ids})
	if err != nil {
		return nil, fmt.Errorf("finding the shipments of %d events: %w", len(refs), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[foundShipment])
	if err != nil {
		return nil, fmt.Errorf("finding the shipments of %d events: %w", len(refs), err)
	}
	return found, nil
}
