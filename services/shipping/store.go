package shipping

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// All SQL of the service. What writes takes a whole batch and sends the same number of statements for 1 and for 200.

const insertShipmentsSQL = `
INSERT INTO shipment (
    shipment_id, order_id, saga_id, step, generation, reference, state,
    name, street, city, region, postal_code, country, created_at, updated_at
)
SELECT shipment_id, order_id, saga_id, step, generation, reference, 'label_requested',
       name, street, city, region, postal_code, country, $13, $13
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]
) AS s (shipment_id, order_id, saga_id, step, generation, reference, name, street, city, region, postal_code, country)
ON CONFLICT DO NOTHING
RETURNING shipment_id`

const insertItemsSQL = `
INSERT INTO shipment_item (shipment_id, line_id, sku, quantity)
SELECT shipment_id, line_id, sku, quantity
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) AS i (shipment_id, line_id, sku, quantity)`

const insertPackagesSQL = `
INSERT INTO package (package_id, shipment_id, seq, weight_g)
SELECT package_id, shipment_id, 1, weight_g
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS p (package_id, shipment_id, weight_g)`

const insertLabelsSQL = `
INSERT INTO label (label_id, package_id, state, updated_at)
SELECT label_id, package_id, 'requested', $3
FROM unnest($1::uuid[], $2::uuid[]) AS l (label_id, package_id)`

const insertOperationsSQL = `
INSERT INTO carrier_operation (operation_id, label_id, kind, state, requested_at)
SELECT operation_id, label_id, 'buy', 'requested', $3
FROM unnest($1::uuid[], $2::uuid[]) AS o (operation_id, label_id)`

// insertPlans stores the shipments with everything that hangs on them and says which of them are in. One that is not
// belongs to an order that has a live shipment.
func insertPlans(ctx context.Context, tx pgx.Tx, plans []plan, now time.Time) (map[uuid.UUID]bool, error) {
	n := len(plans)
	if n == 0 {
		return nil, nil
	}
	var (
		ids, orders, sagas            = make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
		steps, references             = make([]string, n), make([]string, n)
		generations                   = make([]int32, n)
		names, streets, cities        = make([]string, n), make([]string, n), make([]string, n)
		regions, postcodes, countries = make([]string, n), make([]string, n), make([]string, n)
	)
	for i := range plans {
		p := &plans[i]
		ids[i], orders[i], sagas[i] = p.ShipmentID, p.OrderID, p.SagaID
		steps[i], generations[i], references[i] = p.Step, int32(p.Generation), plainText(p.Reference)
		names[i] = plainText(p.ShipTo.GetName())
		streets[i] = plainText(strings.Join(p.ShipTo.GetLines(), "\n"))
		cities[i], regions[i] = plainText(p.ShipTo.GetCity()), plainText(p.ShipTo.GetRegion())
		postcodes[i], countries[i] = plainText(p.ShipTo.GetPostalCode()), p.ShipTo.GetCountry()
	}
	rows, err := tx.Query(ctx, insertShipmentsSQL, ids, orders, sagas, steps, generations, references,
		names, streets, cities, regions, postcodes, countries, now)
	if err != nil {
		return nil, fmt.Errorf("inserting %d shipments: %w", n, err)
	}
	in, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("inserting %d shipments: %w", n, err)
	}
	stored := make(map[uuid.UUID]bool, len(in))
	for _, id := range in {
		stored[id] = true
	}

	var (
		itemShipments                           []uuid.UUID
		lines, skus                             []string
		quantities                              []int64
		shipments, packages, labels, operations []uuid.UUID
		weights                                 []int64
	)
	for i := range plans {
		p := &plans[i]
		if !stored[p.ShipmentID] {
			continue
		}
		for _, it := range p.Items {
			itemShipments = append(itemShipments, p.ShipmentID)
			lines, skus = append(lines, plainText(it.LineID)), append(skus, plainText(it.SKU))
			quantities = append(quantities, it.Quantity)
		}
		shipments, weights = append(shipments, p.ShipmentID), append(weights, p.WeightG)
		packages, labels, operations = append(packages, newID()), append(labels, newID()), append(operations, newID())
	}
	var batch pgx.Batch
	batch.Queue(insertItemsSQL, itemShipments, lines, skus, quantities)
	batch.Queue(insertPackagesSQL, packages, shipments, weights)
	batch.Queue(insertLabelsSQL, labels, packages, now)
	batch.Queue(insertOperationsSQL, operations, labels, now)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("inserting the packages of %d shipments: %w", len(shipments), err)
	}
	return stored, nil
}

// intent is one request that is about to change something at the carrier.
type intent struct {
	ShipmentID uuid.UUID
	Kind       OperationKind
	// CarrierRef is the booking to use if none is stored yet.
	CarrierRef string
	// At is when it was formed.
	At time.Time
}

// begun says that the intent is stored and may be sent.
type begun struct {
	OperationID uuid.UUID
	// CarrierRef is the booking that counts, which may be an older one than the intent's.
	CarrierRef string
	// AttemptNo is 0 when the request before it may still be carried out: it is too early to send another.
	AttemptNo int
}

// errNotOpen says that the operation was settled by somebody else meanwhile.
var errNotOpen = errors.New("the operation is not open any more")

// openOperationSQL looks up, for each row of asked with its shipment_id and kind, the live label and the operation that
// is open about it: there is one of each at most. It goes from key to key, hence each LIMIT: left to join as it likes,
// the planner may read a whole index, and goes on to when there is much in it.
const openOperationSQL = `
CROSS JOIN LATERAL (
    SELECT package_id
    FROM package
    WHERE shipment_id = asked.shipment_id
    LIMIT 1
) AS package
CROSS JOIN LATERAL (
    SELECT label_id
    FROM label
    WHERE package_id = package.package_id AND state NOT IN ('refused', 'voided')
    LIMIT 1
) AS label
CROSS JOIN LATERAL (
    SELECT operation_id
    FROM carrier_operation
    WHERE label_id = label.label_id AND kind = asked.kind AND state IN ('requested', 'unknown')
    LIMIT 1
) AS operation`

// beginSQL stores, before anything is sent, which booking the label is bought for and that a request goes out. The row
// lock on the label makes two processes that ask at once agree on one booking: the second sees what the first stored.
// Labels are locked in one order everywhere. Whether one is unnamed is read with its lock: asked for in the update, it
// leads the planner to the index of bookings, among the dead entries of all labels that have been unnamed.
const beginSQL = `
WITH found AS (
    SELECT asked.shipment_id, asked.kind, asked.carrier_ref, operation.operation_id, label.label_id
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS asked (shipment_id, kind, carrier_ref)
` + openOperationSQL + `
    ORDER BY label.label_id
),
open AS (
    SELECT f.shipment_id, f.kind, f.operation_id, f.label_id, coalesce(l.carrier_ref, f.carrier_ref) AS carrier_ref,
           l.carrier_ref IS NULL AS unnamed
    FROM found f
    CROSS JOIN LATERAL (
        SELECT l.carrier_ref
        FROM label l
        WHERE l.label_id = f.label_id AND l.state NOT IN ('refused', 'voided')
        FOR UPDATE
    ) l
),
numbered AS (
    SELECT o.shipment_id, o.kind, o.operation_id, o.label_id, o.carrier_ref, o.unnamed,
           coalesce(last.attempt_no, 0) + 1 AS attempt_no,
           last.attempt_no IS NULL OR (last.outcome IN ('answered', 'not_sent')) IS TRUE OR last.sent_at <= $5 AS ripe
    FROM open o
    LEFT JOIN LATERAL (
        SELECT attempt_no, outcome, sent_at
        FROM carrier_attempt a
        WHERE a.operation_id = o.operation_id
        ORDER BY attempt_no DESC
        LIMIT 1
    ) last ON true
),
named AS (
    UPDATE label l
    SET carrier_ref = n.carrier_ref
    FROM numbered n
    WHERE l.label_id = n.label_id AND n.unnamed
),
attempted AS (
    INSERT INTO carrier_attempt (operation_id, attempt_no, sent_at)
    SELECT operation_id, attempt_no, $4
    FROM numbered
    WHERE ripe
)
SELECT shipment_id, kind, operation_id, carrier_ref, CASE WHEN ripe THEN attempt_no ELSE 0 END AS attempt_no
FROM numbered`

// begin stores intents. An intent whose operation is not open is answered with nil.
func begin(ctx context.Context, pool *pgxpool.Pool, intents []intent, visibility time.Duration) ([]*begun, error) {
	type key struct {
		shipment uuid.UUID
		kind     OperationKind
	}
	var (
		ids         = make([]uuid.UUID, len(intents))
		kinds, refs = make([]string, len(intents)), make([]string, len(intents))
		now         time.Time // of the youngest
	)
	for i, it := range intents {
		ids[i], kinds[i], refs[i] = it.ShipmentID, string(it.Kind), it.CarrierRef
		if it.At.After(now) {
			now = it.At
		}
	}
	rows, err := pool.Query(ctx, beginSQL, ids, kinds, refs, now, now.Add(-visibility))
	if err != nil {
		return nil, fmt.Errorf("storing %d intents: %w", len(intents), err)
	}
	found := make(map[key]*begun, len(intents))
	var (
		k key
		b begun
	)
	_, err = pgx.ForEachRow(rows, []any{&k.shipment, &k.kind, &b.OperationID, &b.CarrierRef, &b.AttemptNo}, func() error {
		stored := b
		found[k] = &stored
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("storing %d intents: %w", len(intents), err)
	}
	out := make([]*begun, len(intents))
	for i, it := range intents {
		out[i] = found[key{it.ShipmentID, it.Kind}]
	}
	return out, nil
}

const bookedRefSQL = `
SELECT coalesce(l.carrier_ref, '')
FROM package p
JOIN label l ON l.package_id = p.package_id AND l.state NOT IN ('refused', 'voided')
WHERE p.shipment_id = $1`

// bookedRef is the booking that the label of a shipment was last meant to be bought for; empty if nothing was sent yet.
func bookedRef(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) (string, error) {
	var ref string
	if err := pool.QueryRow(ctx, bookedRefSQL, id).Scan(&ref); err != nil {
		return "", fmt.Errorf("reading the booking of shipment %s: %w", id, err)
	}
	return ref, nil
}

// settled is what a question to the carrier came to, for one shipment.
type settled struct {
	ShipmentID uuid.UUID
	settlement
	// Booking is the proof of a success.
	Booking *Booking
	// Refusal is set when the carrier refused.
	Refusal *Refused
	// Begun is nil when nothing that changes anything was sent.
	Begun   *begun
	Outcome AttemptOutcome
	EndedAt time.Time
	Detail  string
}

const settleOperationsSQL = `
UPDATE carrier_operation o
SET state = asked.state,
    proof = asked.proof,
    failure_class = asked.failure_class,
    failure_code = asked.failure_code,
    unknown_since = CASE WHEN asked.state = 'unknown' THEN coalesce(o.unknown_since, $6) ELSE o.unknown_since END,
    decided_at = CASE WHEN asked.state IN ('succeeded', 'failed') THEN $6 END
FROM (
    SELECT *, $7::text AS kind
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS told (shipment_id, state, proof, failure_class, failure_code)
) AS asked` + openOperationSQL + `
WHERE o.operation_id = operation.operation_id AND o.state IN ('requested', 'unknown')`

const settleAttemptsSQL = `
UPDATE carrier_attempt a
SET ended_at = s.ended_at,
    outcome = s.outcome,
    detail = s.detail
FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::text[])
         AS s (operation_id, attempt_no, ended_at, outcome, detail)
WHERE a.operation_id = s.operation_id AND a.attempt_no = s.attempt_no`

const settleLabelsSQL = `
UPDATE label l
SET state = s.state,
    carrier_ref = coalesce(l.carrier_ref, s.carrier_ref),
    tracking_number = coalesce(s.tracking_number, l.tracking_number),
    cost_minor = coalesce(s.cost_minor, l.cost_minor),
    currency = coalesce(s.currency, l.currency),
    updated_at = $7
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
         AS s (shipment_id, state, carrier_ref, tracking_number, cost_minor, currency)
JOIN package p ON p.shipment_id = s.shipment_id
WHERE l.package_id = p.package_id AND l.state NOT IN ('refused', 'voided')`

const settleShipmentsSQL = `
UPDATE shipment t
SET state = s.state,
    carrier = coalesce(s.carrier, t.carrier),
    refusal_code = s.refusal_code,
    refusal_detail = s.detail,
    updated_at = $6
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
         AS s (shipment_id, state, carrier, refusal_code, detail)
WHERE t.shipment_id = s.shipment_id AND t.state NOT IN ('refused', 'cancelled')`

// settle writes what the carrier said about one kind of operation.
func settle(ctx context.Context, tx pgx.Tx, kind OperationKind, batch []settled, now time.Time) error {
	n := len(batch)
	var (
		ids                                   = make([]uuid.UUID, n)
		operationStates, labelStates, states  = make([]string, n), make([]string, n), make([]string, n)
		proofs, classes, failures             = make([]*string, n), make([]*string, n), make([]*string, n)
		refs, trackings, currencies, carriers = make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n)
		costs                                 = make([]*int64, n)
		refusalCodes                          = make([]*string, n)
		details                               = make([]string, n)

		operations      []uuid.UUID
		attempts        []int32
		ends            []time.Time
		outcomes, texts []string
	)
	for i := range batch {
		s := &batch[i]
		ids[i] = s.ShipmentID
		operationStates[i], labelStates[i], states[i] = string(s.Operation), string(s.Label), string(s.Shipment)
		if b := s.Booking; b != nil {
			proofs[i], refs[i] = &b.Ref, &b.Ref
			if l := b.Label; l != nil {
				currency := string(l.Cost.Currency)
				carriers[i], trackings[i], costs[i], currencies[i] = &l.Carrier, &l.Tracking, &l.Cost.Minor, &currency
			}
		}
		if r := s.Refusal; r != nil {
			class := string(r.Class)
			classes[i], failures[i], details[i] = &class, &r.Code, plainText(r.Detail)
			if s.Shipment == RefusedShipment {
				refusalCodes[i] = &r.Code
			}
		}
		if s.Begun != nil {
			operations, attempts = append(operations, s.Begun.OperationID), append(attempts, int32(s.Begun.AttemptNo))
			ends, outcomes = append(ends, s.EndedAt), append(outcomes, string(s.Outcome))
			texts = append(texts, plainText(s.Detail))
		}
	}
	var q pgx.Batch
	q.Queue(settleOperationsSQL, ids, operationStates, proofs, classes, failures, now, string(kind))
	q.Queue(settleAttemptsSQL, operations, attempts, ends, outcomes, texts)
	q.Queue(settleLabelsSQL, ids, labelStates, refs, trackings, costs, currencies, now)
	q.Queue(settleShipmentsSQL, ids, states, carriers, refusalCodes, details, now)
	results := tx.SendBatch(ctx, &q)
	for _, want := range []struct {
		rows int
		what string
	}{{n, "operations"}, {len(operations), "attempts"}, {n, "labels"}, {n, "shipments"}} {
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() != int64(want.rows) {
			err = fmt.Errorf("%d rows changed, want %d", tag.RowsAffected(), want.rows)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("settling %s of %d shipments: %w", want.what, n, err), results.Close())
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("settling %d shipments: %w", n, err)
	}
	return nil
}

const cancelShipmentsSQL = `
UPDATE shipment
SET state = 'cancelling', updated_at = $2
WHERE shipment_id = ANY ($1::uuid[]) AND state IN ('labelled', 'cancel_rejected')
RETURNING shipment_id`

const cancelLabelsSQL = `
UPDATE label l
SET state = 'void_requested', updated_at = $2
FROM package p
WHERE p.shipment_id = ANY ($1::uuid[]) AND l.package_id = p.package_id AND l.state IN ('purchased', 'void_rejected')`

const insertVoidsSQL = `
INSERT INTO carrier_operation (operation_id, label_id, kind, state, requested_at)
SELECT v.operation_id, l.label_id, 'void', 'requested', $3
FROM unnest($1::uuid[], $2::uuid[]) AS v (shipment_id, operation_id)
JOIN package p ON p.shipment_id = v.shipment_id
JOIN label l ON l.package_id = p.package_id AND l.state = 'void_requested'`

// cancel starts to void the labels of shipments and says for which of them there is one to void.
func cancel(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, now time.Time) (map[uuid.UUID]bool, error) {
	rows, err := tx.Query(ctx, cancelShipmentsSQL, ids, now)
	if err != nil {
		return nil, fmt.Errorf("cancelling %d shipments: %w", len(ids), err)
	}
	cancelled, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("cancelling %d shipments: %w", len(ids), err)
	}
	open := make(map[uuid.UUID]bool, len(cancelled))
	operations := make([]uuid.UUID, len(cancelled))
	for i, id := range cancelled {
		open[id], operations[i] = true, newID()
	}
	var batch pgx.Batch
	batch.Queue(cancelLabelsSQL, cancelled, now)
	batch.Queue(insertVoidsSQL, cancelled, operations, now)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("asking for the voids of %d labels: %w", len(cancelled), err)
	}
	return open, nil
}
