package notification_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/notification"
)

func TestStatements_prepare(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for name, sql := range notification.Statements {
		_, err := conn.Conn().Prepare(t.Context(), name, sql)
		require.NoError(t, err, name)
	}
}

// The lists of states stand in the code and in the CHECKs; they must be one.
func TestSchema_states_are_those_of_the_code(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	tests := []struct {
		table, column string
		want          []string
	}{
		{"notification", "state", texts(notification.States())},
		{"order_claim", "status", texts(notification.ClaimStatuses())},
		{"delivery_attempt", "outcome", texts(notification.AttemptOutcomes())},
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

// rows is a notification that was sent, written without the service.
const rows = `
INSERT INTO notification (notification_id, dedupe_key, order_id, saga_id, step, generation, channel, address, name,
                          reference, template_key, template_locale, template_version, subject, text, html, state,
                          created_at, decided_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'o:order_confirmation:1', '00000000-0000-0000-0000-000000000002',
        '00000000-0000-0000-0000-000000000003', 'send_confirmation', 1, 'email', 'a@b.example', 'Ada', 'R-1',
        'order_confirmation', 'en', 1, 's', 't', 'h', 'sent', now(), now());
INSERT INTO delivery_attempt (notification_id, attempt_no, sent_at, ended_at, outcome)
VALUES ('00000000-0000-0000-0000-000000000001', 1, now(), now(), 'accepted');`

// again is the same notification once more, with another id.
const again = `
INSERT INTO notification (notification_id, dedupe_key, order_id, saga_id, step, generation, channel, address, name,
                          reference, template_key, template_locale, template_version, subject, text, html, state,
                          created_at)
SELECT gen_random_uuid(), dedupe_key, order_id, saga_id, step, generation, channel, address, name, reference,
       template_key, template_locale, template_version, subject, text, html, 'queued', created_at
FROM notification`

func TestSchema_refuses_what_must_not_be(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	require.NoError(t, try(t, pool, "SELECT 1"), "the rows themselves are legal")
	require.NoError(t, try(t, pool, "UPDATE notification SET state = 'bounced'; "+again), "what stayed here may go again")
	tests := []struct{ name, sql, constraint string }{
		{"said twice", again, "once"},
		{"said again while unknown", "UPDATE notification SET state = 'unknown'; " + again, "once"},
		{"same try twice", `INSERT INTO delivery_attempt (notification_id, attempt_no, sent_at)
			VALUES ('00000000-0000-0000-0000-000000000001', 1, now())`, "delivery_attempt_pkey"},
		{"sent without a time", `UPDATE notification SET decided_at = NULL`, "decided_has_time"},
		{"queued with a time", `UPDATE notification SET state = 'queued'`, "decided_has_time"},
		{"try that ended in nothing", `UPDATE delivery_attempt SET outcome = NULL`, "ended_has_outcome"},
		{
			"template of the moon", `UPDATE notification SET template_version = 9`,
			"notification_template_key_template_locale_template_version_fkey",
		},
		{
			"two active templates", `INSERT INTO template VALUES ('order_confirmation', 'en', 2, 's', 't', 'h', true)`,
			"one_active_template",
		},
		{
			"claim of no revision", `INSERT INTO order_claim VALUES (gen_random_uuid(), 'accepted', 0, now())`,
			"order_claim_revision_check",
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
