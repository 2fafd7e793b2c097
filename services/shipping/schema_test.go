package shipping_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/shipping"
)

func TestStatements_prepare(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("shipping"))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for name, sql := range shipping.Statements {
		_, err := conn.Conn().Prepare(t.Context(), name, sql)
		require.NoError(t, err, name)
	}
}

// The lists of states stand in the code and in the CHECKs; they must be one.
func TestSchema_states_are_those_of_the_code(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("shipping"))
	tests := []struct {
		table, column string
		want          []string
	}{
		{"shipment", "state", texts(shipping.States())},
		{"label", "state", texts(shipping.LabelStates())},
		{"carrier_operation", "kind", texts([]shipping.OperationKind{shipping.Buy, shipping.Void})},
		{"carrier_operation", "state", texts(shipping.OperationStates())},
		{"carrier_operation", "failure_class", texts(shipping.FailureClasses())},
		{"carrier_attempt", "outcome", texts(shipping.AttemptOutcomes())},
	}
	literal := regexp.MustCompile(`'([a-z_]+)'::text`)
	for _, tt := range tests {
		var check string
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT pg_get_constraintdef(oid)
			FROM pg_constraint
			WHERE conname = $1`, tt.table+"_"+tt.column+"_check").Scan(&check))
		var got []string
		for _, match := range literal.FindAllStringSubmatch(check, -1) {
			got = append(got, match[1])
		}
		require.ElementsMatch(t, tt.want, got, "%s.%s", tt.table, tt.column)
	}
}

func texts[S ~string](values []S) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// rows is a shipment with a bought label, written without the service.
const rows = `
INSERT INTO shipment (shipment_id, order_id, saga_id, step, generation, reference, state, name, street, city, region,
                      postal_code, country, carrier, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
        '00000000-0000-0000-0000-000000000003', 'create_shipment', 1, 'R-1', 'labelled', 'Ada', '1 Road', 'London', '',
        'SW1Y', 'GB', 'Simpost', now(), now());
INSERT INTO package (package_id, shipment_id, seq, weight_g)
VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000001', 1, 500);
INSERT INTO label (label_id, package_id, state, carrier_ref, tracking_number, cost_minor, currency, updated_at)
VALUES ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000004', 'purchased', 'shp_1', 'T1', 490,
        'EUR', now());
INSERT INTO carrier_operation (operation_id, label_id, kind, state, proof, requested_at, decided_at)
VALUES ('00000000-0000-0000-0000-000000000006', '00000000-0000-0000-0000-000000000005', 'buy', 'succeeded', 'shp_1',
        now(), now());
INSERT INTO carrier_attempt (operation_id, attempt_no, sent_at, ended_at, outcome)
VALUES ('00000000-0000-0000-0000-000000000006', 1, now(), now(), 'answered');`

const (
	secondLabel = `INSERT INTO label (label_id, package_id, state, updated_at)
VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000004', '%s', now())`
	secondShipment = `INSERT INTO shipment (shipment_id, order_id, saga_id, step, generation, reference, state, name,
street, city, region, postal_code, country, created_at, updated_at)
VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000002', gen_random_uuid(), 's', 1, '', 'label_requested',
'Ada', '', '', '', '', '%s', now(), now())`
	secondOperation = `INSERT INTO carrier_operation (operation_id, label_id, kind, state, requested_at)
VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000005', '%s', 'requested', now())`
)

func TestSchema_refuses_what_must_not_be(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("shipping"))
	require.NoError(t, try(t, pool, "SELECT 1"), "the rows themselves are legal")
	tests := []struct{ name, sql, constraint string }{
		{"second label while one is live", fmt.Sprintf(secondLabel, "requested"), "one_live_label"},
		{"second label while the first is unknown", `UPDATE label SET state = 'unknown'; ` +
			fmt.Sprintf(secondLabel, "requested"), "one_live_label"},
		{"second label while the void is open", `UPDATE label SET state = 'void_requested'; ` +
			fmt.Sprintf(secondLabel, "requested"), "one_live_label"},
		{"second live shipment of an order", fmt.Sprintf(secondShipment, "GB"), "one_live_shipment"},
		{"second purchase of a label", fmt.Sprintf(secondOperation, "buy"), "one_open_operation"},
		{"cancelled with a live label", `UPDATE shipment SET state = 'cancelled'`, "no_live_label_left"},
		{"refused with a live label", `UPDATE shipment SET state = 'refused', refusal_code = 'x'`, "no_live_label_left"},
		{"label after the end", `UPDATE label SET state = 'voided'; UPDATE shipment SET state = 'cancelled'; ` +
			`SET CONSTRAINTS ALL IMMEDIATE; UPDATE label SET state = 'purchased'`, "no_label_after_the_end"},
		{"bought without tracking", `UPDATE label SET tracking_number = NULL`, "bought_has_proof"},
		{"bought without a price", `UPDATE label SET cost_minor = NULL`, "bought_has_proof"},
		{"success without proof", `UPDATE carrier_operation SET proof = NULL`, "success_has_proof"},
		{"failure without a class", `UPDATE carrier_operation SET state = 'failed', proof = NULL`, "failure_has_class"},
		{
			"unknown without age", `UPDATE carrier_operation SET state = 'unknown', proof = NULL, decided_at = NULL`,
			"unknown_has_age",
		},
		{"refusal without a code", `UPDATE shipment SET state = 'refused'`, "refusal_has_code"},
		{"labelled by nobody", `UPDATE shipment SET carrier = NULL`, "labelled_has_carrier"},
		{"attempt that ended in nothing", `UPDATE carrier_attempt SET outcome = NULL`, "ended_has_outcome"},
		{"country in small letters", fmt.Sprintf(secondShipment, "gb"), "shipment_country_check"},
		{
			"nothing in a line", `INSERT INTO shipment_item VALUES ('00000000-0000-0000-0000-000000000001', '1', 'MUG', 0)`,
			"shipment_item_quantity_check",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.constraint, pg.Constraint(try(t, pool, tt.sql)))
		})
	}
}

// try runs statements on top of the rows and takes everything back.
func try(t *testing.T, pool pg.Beginner, sql string) error {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func(ctx context.Context) { require.NoError(t, tx.Rollback(ctx)) }(context.WithoutCancel(t.Context()))
	// The deferred checks of the rows themselves come first, or they would see what the statements made of them.
	_, err = tx.Exec(t.Context(), rows+"; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED",
		pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), sql+"; SET CONSTRAINTS ALL IMMEDIATE", pgx.QueryExecModeSimpleProtocol)
	return err
}
