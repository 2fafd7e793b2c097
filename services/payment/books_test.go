package payment_test

import (
	"encoding/hex"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// worlds finds the provider of a kit, which is all that the conformance tests hand around.
var worlds sync.Map

func worldOf(t *testing.T, kit *workertest.Kit) *provider {
	t.Helper()
	world, ok := worlds.Load(kit)
	require.True(t, ok)
	p, ok := world.(*provider)
	require.True(t, ok)
	return p
}

func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }

func effectText(e *sagav1.Effect) string {
	return fmt.Sprint(e.GetKind(), " ", e.GetAmount(), " ", e.GetUnit(), " ", e.GetHandle())
}

type intentRow struct {
	ID             uuid.UUID
	State          string
	Authorized     int64
	Captured       int64
	CapturePending int64
	Voided         int64
	Expired        int64
}

// intentOf is the newest intent of a command's order.
func intentOf(t *testing.T, pool *pgxpool.Pool, meta *sagav1.CommandMeta) intentRow {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT intent_id AS id, state, authorized, captured, capture_pending, voided, expired
		FROM intent WHERE order_id = $1 ORDER BY intent_id DESC LIMIT 1`, meta.GetOrderId())
	require.NoError(t, err)
	intent, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[intentRow])
	require.NoError(t, err)
	return intent
}

// operationsOf lists what was asked about an order: kind and state, oldest first.
func operationsOf(t *testing.T, pool *pgxpool.Pool, meta *sagav1.CommandMeta) []string {
	t.Helper()
	return textsOf(t, pool, `
		SELECT operation.kind || ' ' || operation.state
		FROM operation JOIN intent USING (intent_id)
		WHERE order_id = $1 ORDER BY requested_at`, meta.GetOrderId())
}

// attemptsOf lists the exchanges about an order, oldest first.
func attemptsOf(t *testing.T, pool *pgxpool.Pool, meta *sagav1.CommandMeta) []string {
	t.Helper()
	return textsOf(t, pool, `
		SELECT concat_ws(' ', attempt_no, call, COALESCE(outcome, 'open'), http_status)
		FROM attempt JOIN operation USING (operation_id) JOIN intent USING (intent_id)
		WHERE order_id = $1 ORDER BY requested_at, attempt_no`, meta.GetOrderId())
}

func textsOf(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return texts
}

// requireBooksAgree checks the conservation equations: what an intent says about itself is what its operations and the
// journal say.
func requireBooksAgree(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	differences := textsOf(t, pool, `
		WITH booked AS (
			SELECT intent_id,
				sum(amount) FILTER (WHERE account = 'customer_hold') AS held,
				sum(amount) FILTER (WHERE account = 'merchant_receivable') AS received
			FROM journal GROUP BY intent_id
		), asked AS (
			SELECT intent_id,
				sum(amount) FILTER (WHERE kind = 'capture' AND state = 'succeeded') AS captured,
				sum(amount) FILTER (WHERE kind = 'void' AND state = 'succeeded') AS voided,
				sum(amount) FILTER (WHERE kind = 'authorize' AND state = 'succeeded') AS authorized,
				sum(amount) FILTER (WHERE kind = 'capture' AND state NOT IN ('succeeded', 'failed')) AS capture_pending
			FROM operation GROUP BY intent_id
		)
		SELECT intent::text
		FROM intent LEFT JOIN booked USING (intent_id) LEFT JOIN asked USING (intent_id)
		WHERE intent.authorized - intent.captured - intent.voided - intent.expired <> COALESCE(held, 0)
			OR intent.captured - intent.refunded <> COALESCE(received, 0)
			OR intent.captured <> COALESCE(asked.captured, 0)
			OR intent.voided <> COALESCE(asked.voided, 0)
			OR intent.authorized <> COALESCE(asked.authorized, 0)
			OR intent.capture_pending <> COALESCE(asked.capture_pending, 0)`)
	require.Empty(t, differences)
	require.Empty(t, textsOf(t, pool, `SELECT currency FROM journal GROUP BY currency HAVING sum(amount) <> 0`))
}
