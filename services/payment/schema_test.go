package payment_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/payment"
)

// The database alone must refuse what must never be, whatever a build of the service believes.

const insertIntentSQL = `
INSERT INTO intent (
	intent_id, order_id, customer_id, reference, currency, amount, authorized, state, gateway, gateway_ref,
	payment_token, created_at, updated_at)
VALUES ($1, $2, 'c', 'r', 'EUR', 1000, 1000, 'authorized', 'test', $3, 'tok_visa', now(), now())`

const insertOperationSQL = `
INSERT INTO operation (
	operation_id, intent_id, kind, amount, state, idempotency_key, request_hash, gateway_ref, requested_at, decided_at)
VALUES ($1, $2, 'authorize', 1000, 'succeeded', $3, '', 'ch_1', now(), now())`

// authorizedIntent writes an intent of 1000 minor units with its authorization.
func authorizedIntent(t *testing.T, pool *pgxpool.Pool) (intent, operation uuid.UUID) {
	t.Helper()
	intent, operation = uuid.New(), uuid.New()
	_, err := pool.Exec(t.Context(), insertIntentSQL, intent, uuid.New(), intent.String())
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), insertOperationSQL, operation, intent, "key-of-"+operation.String())
	require.NoError(t, err)
	return intent, operation
}

func TestSchema_RefusesIllegalIntents(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	tests := []struct {
		name       string
		set        string
		constraint string
	}{
		{"capture over authorized", `captured = 1001, state = 'captured'`, "no_over_capture"},
		{"capture beside a pending one", `captured = 700, capture_pending = 700, state = 'capturing'`, "no_over_capture"},
		{"capture what is voided", `voided = 1000, captured = 1, state = 'captured'`, "no_over_capture"},
		{"capture what is expired", `expired = 1000, captured = 1, state = 'captured'`, "no_over_capture"},
		{"authorize over the amount", `authorized = 1001`, "no_over_authorization"},
		{"refund over captured", `captured = 5, refunded = 4, refund_pending = 2, state = 'captured'`, "no_over_refund"},
		{"negative amount", `captured = -1`, "amounts_not_negative"},
		{"unknown state", `state = 'paid'`, "intent_state"},
		{"authorized without the provider's name", `gateway_ref = NULL`, "authorized_has_proof"},
		{"declined and holding", `state = 'declined'`, "nothing_held_before_authorized"},
		{"voided and holding", `state = 'voided', voided = 999`, "nothing_held_at_the_end"},
		{"expired and holding", `state = 'auth_expired'`, "nothing_held_at_the_end"},
		{"captured without money", `state = 'captured'`, "captured_has_money"},
		{"capturing without headroom", `state = 'capturing'`, "capturing_has_headroom_taken"},
		{"headroom without capturing", `capture_pending = 1`, "capturing_has_headroom_taken"},
		{"currency in lower case", `currency = 'eur'`, "currency_code"},
		{"card number for a token", `payment_token = '4242 4242-4242 4242'`, "no_card_data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			intent, _ := authorizedIntent(t, pool)
			_, err := pool.Exec(t.Context(), "UPDATE intent SET "+test.set+" WHERE intent_id = $1", intent)
			require.Equal(t, test.constraint, pg.Constraint(err), "%v", err)
		})
	}
}

func TestSchema_RefusesIllegalOperations(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	const (
		update     = `UPDATE operation SET %s WHERE intent_id = $1`
		operations = `
			INSERT INTO operation (
				operation_id, intent_id, kind, amount, state, idempotency_key, request_hash, requested_at)
			SELECT gen_random_uuid(), intent_id, %s, '', now() FROM operation, generate_series(1, 2) AS n
			WHERE intent_id = $1`
		attempts = `
			INSERT INTO attempt (operation_id, attempt_no, call, sent_at, ended_at, outcome, http_status)
			SELECT operation_id, 1, 'create', now(), %s FROM operation WHERE intent_id = $1`
		movements = `
			INSERT INTO journal (txn_id, kind, account, currency, amount, intent_id, operation_id, at)
			SELECT operation_id, 'capture', account, currency, e.amount, intent_id, operation_id, now()
			FROM operation, (VALUES %s) AS e (account, currency, amount) WHERE intent_id = $1`
	)
	const (
		key        = `'key-of-' || intent_id || n`
		bookedOnce = "journal_txn_id_account_key"
	)
	tests := []struct {
		name       string
		format     string
		what       string
		constraint string
	}{
		{"success without proof", update, `gateway_ref = NULL`, "success_has_proof"},
		{"failure without class", update, `state = 'failed'`, "failure_has_class"},
		{"failure of an unknown class", update, `state = 'failed', failure_class = 'mood'`, "failure_classes"},
		{"unknown without since when", update, `state = 'unknown', decided_at = NULL`, "unknown_since_when_unknown"},
		{"settled and unknown", update, `unknown_since = now()`, "unknown_since_when_unknown"},
		{"settled without when", update, `decided_at = NULL`, "decided_when_settled"},
		{"unknown state", update, `state = 'maybe', decided_at = NULL`, "operation_state"},
		{"unknown kind", update, `kind = 'gift'`, "operation_kind"},
		{"key too short", update, `idempotency_key = 'short'`, "operation_idempotency_key_check"},
		{"second authorize", operations, `'authorize', 1, 'sent', ` + key, "operation_live_authorize"},
		{"second void", operations, `'void', 1, 'sent', ` + key, "operation_live_void"},
		{"one key, two operations", operations, `'capture', 1, 'sent', idempotency_key`, "operation_idempotency_key_key"},
		{"operation over nothing", operations, `'capture', 0, 'sent', ` + key, "operation_amount_check"},
		{"attempt ended without an outcome", attempts, `now(), NULL, NULL::integer`, "ended_with_outcome"},
		{"attempt with an outcome and no end", attempts, `NULL::timestamptz, 'timeout', NULL::integer`, "ended_with_outcome"},
		{"answer without a status", attempts, `now(), 'response', NULL::integer`, "status_of_a_response"},
		{"timeout with a status", attempts, `now(), 'timeout', 200`, "status_of_a_response"},
		{"entry of nothing", movements, `('customer_hold', 'EUR', 0)`, "journal_amount_check"},
		{"half of a movement", movements, `('customer_hold', 'EUR', -5)`, "journal_balanced"},
		{"movement that leaks", movements, `('customer_hold', 'EUR', -5), ('customer_funds', 'EUR', 4)`, "journal_balanced"},
		{"two currencies", movements, `('customer_hold', 'EUR', -5), ('customer_funds', 'USD', 5)`, "journal_balanced"},
		{"booked twice", movements, `('customer_hold', 'EUR', -5), ('customer_hold', 'EUR', 5)`, bookedOnce},
		{"unknown account", movements, `('petty_cash', 'EUR', 5)`, "journal_account"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			intent, _ := authorizedIntent(t, pool)
			_, err := pool.Exec(t.Context(), fmt.Sprintf(test.format, test.what), intent)
			require.Equal(t, test.constraint, pg.Constraint(err), "%v", err)
		})
	}
}

func TestSchema_OneLiveIntentPerOrder(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	intent, _ := authorizedIntent(t, pool)
	const again = `
		INSERT INTO intent (
			intent_id, order_id, customer_id, reference, currency, amount, state, gateway, payment_token,
			created_at, updated_at)
		SELECT gen_random_uuid(), order_id, 'c', 'r', 'EUR', 1, 'authorizing', 'test', 'tok_visa', now(), now()
		FROM intent WHERE intent_id = $1`
	_, err := pool.Exec(t.Context(), again, intent)
	require.Equal(t, "intent_live_order", pg.Constraint(err), "%v", err)

	_, err = pool.Exec(t.Context(), `UPDATE intent SET state = 'voided', voided = 1000 WHERE intent_id = $1`, intent)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), again, intent)
	require.NoError(t, err, "what ended makes room for a new one")
}

func TestSchema_JournalIsAppendOnly(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	intent, _ := authorizedIntent(t, pool)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO journal (txn_id, kind, account, currency, amount, intent_id, operation_id, at)
		SELECT operation_id, 'authorize', account, 'EUR', e.amount, intent_id, operation_id, now()
		FROM operation, (VALUES ('customer_funds', -1000), ('customer_hold', 1000)) AS e (account, amount)
		WHERE intent_id = $1`, intent)
	require.NoError(t, err)
	for _, sql := range []string{`UPDATE journal SET amount = 1`, `DELETE FROM journal`, `TRUNCATE journal`} {
		_, err := pool.Exec(t.Context(), sql)
		require.Equal(t, "journal_append_only", pg.Constraint(err), "%s: %v", sql, err)
	}
}

// The lists of states in Go and in the database are one list.
func TestSchema_StateLists(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("payment"))
	tests := []struct {
		constraint string
		states     []string
	}{
		{"intent_state", texts(payment.IntentStates())},
		{"operation_state", texts(payment.OperationStates())},
	}
	for _, test := range tests {
		t.Run(test.constraint, func(t *testing.T) {
			t.Parallel()
			var definition string
			err := pool.QueryRow(t.Context(),
				`SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1`, test.constraint).Scan(&definition)
			require.NoError(t, err)
			var inDatabase []string
			for _, match := range regexp.MustCompile(`'([a-z_]+)'`).FindAllStringSubmatch(definition, -1) {
				inDatabase = append(inDatabase, match[1])
			}
			require.ElementsMatch(t, test.states, inDatabase)
		})
	}
}

func texts[S ~string](states []S) []string {
	all := make([]string, len(states))
	for i, s := range states {
		all[i] = string(s)
	}
	return all
}
