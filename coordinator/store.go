package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/crash"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// sagaColumns are read by scanSaga, in this order.
const sagaColumns = `
    s.id, s.order_id, s.definition, s.partition, s.state, s.status, s.attention, s.paused, s.revision, s.record,
    s.created_at, s.ended_at`

// stored is a saga as its row holds it.
type stored struct {
	saga.Saga
	partition int16
	status    saga.Status
	// document is that of its order, where it was written or read with it. It must not be changed.
	document *orderv1.Order
}

func scanSaga(row pgx.CollectableRow) (*stored, error) {
	var s stored
	if err := scanSagaInto(row, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// scanSagaInto also takes further columns behind those of the saga.
func scanSagaInto(row pgx.CollectableRow, s *stored, more ...any) error {
	var (
		definition int64
		record     []byte
		endedAt    *time.Time
	)
	columns := []any{
		&s.ID, &s.OrderID, &definition, &s.partition, &s.State, &s.status, &s.Attention.Kind, &s.Paused, &s.Revision,
		&record, &s.CreatedAt, &endedAt,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return err
	}
	s.Definition = saga.Hash(uint64(definition))
	s.CreatedAt = s.CreatedAt.UTC()
	if endedAt != nil {
		s.EndedAt = endedAt.UTC()
	}
	return saga.UnmarshalRecord(record, &s.Saga)
}

const readSQL = `
SELECT` + sagaColumns + `,
    d.body
FROM saga AS s
LEFT JOIN order_document AS d ON d.order_id = s.order_id
WHERE s.id = ANY($1::uuid[])`

// scanWithDocument reads a row of readSQL.
func scanWithDocument(row pgx.CollectableRow) (*stored, error) {
	var (
		s    stored
		body []byte
	)
	if err := scanSagaInto(row, &s, &body); err != nil {
		return nil, err
	}
	if body == nil {
		return &s, nil
	}
	s.document = new(orderv1.Order)
	if err := proto.Unmarshal(body, s.document); err != nil {
		return nil, fmt.Errorf("decoding the order of saga %s: %w", s.ID, err)
	}
	return &s, nil
}

// Due times are of the database's clock: all coordinators agree about it.
const nowSQL = `SELECT clock_timestamp()`

const keysSQL = `
SELECT
    k.scope,
    k.key,
    k.request_hash,
    k.order_id,
    k.answer
FROM unnest($1::text[], $2::text[]) AS wanted (scope, key)
JOIN request_key AS k ON k.scope = wanted.scope AND k.key = wanted.key`

// A saga is written if it is at the revision that was read, and none is if one of them is not: see expect_rows in the
// migrations. The rows are locked in the order of the parameters, which is that of the ids.
const updateSQL = `
WITH written AS (
    UPDATE saga AS s
    SET
        state = u.state,
        status = u.status,
        attention = u.attention,
        paused = u.paused,
        revision = u.revision,
        next_due = u.next_due,
        record = u.record,
        ended_at = u.ended_at
    FROM unnest(
        $1::uuid[], $2::smallint[], $3::smallint[], $4::smallint[], $5::boolean[], $6::bigint[], $7::timestamptz[],
        $8::bytea[], $9::timestamptz[], $10::bigint[]
    ) AS u (id, state, status, attention, paused, revision, next_due, record, ended_at, read)
    WHERE s.id = u.id AND s.revision = u.read
    RETURNING s.id
)
SELECT expect_rows(count(*), $11)
FROM written`

// The lock is for the numbers of the history, which are given out in the order of the commits of one saga.
const checkSQL = `
WITH found AS (
    SELECT s.id
    FROM unnest($1::uuid[], $2::bigint[]) AS u (id, read)
    JOIN saga AS s ON s.id = u.id AND s.revision = u.read
    FOR NO KEY UPDATE OF s
)
SELECT expect_rows(count(*), $3)
FROM found`

// Rows are unnested in the list and not in FROM, where the server would put every column into a table of its own first.
const insertSagasSQL = `
INSERT INTO saga (
    id, order_id, definition, partition, state, status, revision, next_due, record, created_at
)
SELECT
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::bigint[]), unnest($4::smallint[]), unnest($5::smallint[]),
    unnest($6::smallint[]), unnest($7::bigint[]), unnest($8::timestamptz[]), unnest($9::bytea[]),
    $10::timestamptz`

const insertDocumentsSQL = `
INSERT INTO order_document (
    order_id, saga_id, shop, customer_id, reference, currency, total_minor, body, created_at
)
SELECT
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::bigint[]), unnest($8::bytea[]), $9::timestamptz`

const insertSKUsSQL = `
INSERT INTO order_sku (sku, order_id)
SELECT unnest($1::text[]), unnest($2::uuid[])`

const insertHistorySQL = `
INSERT INTO saga_history (saga_id, at, revision, body)
SELECT unnest($1::uuid[]), $4::timestamptz, unnest($2::bigint[]), unnest($3::bytea[])`

const insertOutboxSQL = `
INSERT INTO outbox (at, body, claimed_until)
VALUES ($1, $2, $1::timestamptz + $3::interval)
RETURNING id`

const raiseAttentionSQL = `
INSERT INTO saga_attention (saga_id, kind, since)
SELECT saga_id, kind, since
FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[]) AS u (saga_id, kind, since)
ON CONFLICT (saga_id) DO UPDATE SET kind = EXCLUDED.kind, since = EXCLUDED.since`

const clearAttentionSQL = `
DELETE FROM saga_attention
WHERE saga_id = ANY($1::uuid[])`

// A saga that is opened again lies behind the mark, where no scan would find it.
const lowerMarkSQL = `
UPDATE saga_low_water
SET id = LEAST(id, $1::uuid)`

// Who comes second with a key waits here for the first one's commit; then the key is not free, and expect_rows says so.
const claimKeysSQL = `
WITH claimed AS (
    INSERT INTO request_key (scope, key, request_hash, order_id, answer, created_at)
    SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::uuid[]), 0, clock_timestamp()
    ON CONFLICT (scope, key) DO NOTHING
    RETURNING key
)
SELECT expect_rows(count(*), $5)
FROM claimed`

const insertKeysSQL = `
INSERT INTO request_key (scope, key, request_hash, order_id, answer, created_at)
SELECT scope, key, request_hash, order_id, answer, $6::timestamptz
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::smallint[])
    AS u (scope, key, request_hash, order_id, answer)`

const seeDefinitionSQL = `
INSERT INTO definition (hash, name, version, steps, participants)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (hash) DO UPDATE
SET
    steps = EXCLUDED.steps,
    participants = EXCLUDED.participants
WHERE definition.steps IS NULL`

// seeDefinitions notes which definitions have run on this database: for people who find a hash, and for histories, which
// name steps by their places. So it comes before the first event.
func (e *engine) seeDefinitions(ctx context.Context) error {
	for _, d := range e.catalogue.all() {
		var steps, participants []string
		for _, st := range d.Steps() {
			steps, participants = append(steps, st.Name), append(participants, st.Participant)
		}
		_, err := e.pool.Exec(ctx, seeDefinitionSQL, int64(d.Hash()), d.Name(), d.Version(), steps, participants)
		if err != nil {
			return fmt.Errorf("noting definition %s: %w", d.Hash(), err)
		}
	}
	return crash.Fail(crash.CoordinatorAfterDefinitions)
}

// keyRow is what was answered under an idempotency key.
type keyRow struct {
	hash   []byte
	order  uuid.UUID
	answer saga.Verdict
}

type keyName struct{ scope, key string }

// queueKeys asks for the answers given under the keys; they are in the map when the batch has been read.
func queueKeys(batch *pgx.Batch, names []keyName, into map[keyName]keyRow) {
	scopes, keys := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		scopes[i], keys[i] = n.scope, n.key
	}
	batch.Queue(keysSQL, scopes, keys).Query(func(rows pgx.Rows) error {
		var (
			n keyName
			k keyRow
		)
		_, err := pgx.ForEachRow(rows, []any{&n.scope, &n.key, &k.hash, &k.order, &k.answer}, func() error {
			into[n] = keyRow{hash: append([]byte(nil), k.hash...), order: k.order, answer: k.answer}
			return nil
		})
		return err
	})
}
