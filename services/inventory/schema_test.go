package inventory_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/inventory"
)

// The database alone keeps the books honest, whoever writes. These tests write by hand, as a repair script would.

// A mug at one location: 5 received, 2 of them held for an order.
const honestStart = `
INSERT INTO item (item_id, sku) VALUES ('00000000-0000-0000-0000-0000000000a1', 'MUG');
INSERT INTO location (location_id, code, country) VALUES ('00000000-0000-0000-0000-0000000000b1', 'BERLIN', 'DE');
INSERT INTO stock_level (item_id, location_id, on_hand, version)
VALUES ('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000b1', 5, 1);
INSERT INTO movement (item_id, location_id, version, kind, d_on_hand, d_reserved, d_unavailable, on_hand, reserved,
    unavailable, cause_id, actor, at)
VALUES ('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000b1', 1, 'receive', 5, 0, 0, 5, 0, 0,
    '00000000-0000-0000-0000-0000000000c1', 'test', now());
INSERT INTO reservation (reservation_id, order_id, saga_id, state, expires_at)
VALUES ('00000000-0000-0000-0000-0000000000d1', '00000000-0000-0000-0000-0000000000e1',
    '00000000-0000-0000-0000-0000000000f1', 'held', now() + interval '1 hour');
INSERT INTO reservation_line (reservation_id, order_line_id, item_id, location_id, qty)
VALUES ('00000000-0000-0000-0000-0000000000d1', '1', '00000000-0000-0000-0000-0000000000a1',
    '00000000-0000-0000-0000-0000000000b1', 2);
UPDATE stock_level SET reserved = 2, version = 2;
INSERT INTO movement (item_id, location_id, version, kind, d_on_hand, d_reserved, d_unavailable, on_hand, reserved,
    unavailable, cause_id, actor, at)
VALUES ('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000b1', 2, 'reserve', 0, 2, 0, 5, 2, 0,
    '00000000-0000-0000-0000-0000000000d1', 'test', now());`

// move writes one more movement of the mug: version, kind, deltas, after, and the last digit of the cause.
func move(values string) string {
	fields := strings.Fields(values)
	at := "'00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000b1', "
	cause := "'00000000-0000-0000-0000-0000000000" + fields[len(fields)-1] + "'"
	return `INSERT INTO movement (item_id, location_id, version, kind, d_on_hand, d_reserved, d_unavailable, on_hand,
		reserved, unavailable, cause_id, actor, at) VALUES (` + at + fields[0] + ", '" + fields[1] + "', " +
		strings.Join(fields[2:len(fields)-1], ", ") + ", " + cause + ", 'test', now());"
}

const countedOne = `UPDATE stock_level SET on_hand = 1, shortage = 1, version = 3;`

func TestSchema_RefusesIllegalWrites(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	hold := `INSERT INTO reservation (reservation_id, order_id, saga_id, state, expires_at, decided_at) VALUES (
		'00000000-0000-0000-0000-0000000000d2', '00000000-0000-0000-0000-0000000000e`
	saga := `', '00000000-0000-0000-0000-0000000000f1', `
	counted := countedOne + move("3 adjust -4 0 0 1 2 0 c3")
	pool := honestDB(t)
	for _, c := range []struct{ name, before, write, constraint string }{
		{"reserve_6_of_5", "", `UPDATE stock_level SET reserved = 6, version = 3`, "no_oversell"},
		{
			"reserve_by_inventing_a_shortage", "",
			`UPDATE stock_level SET reserved = 6, shortage = 1, version = 3`, "level_guard",
		},
		{"reserve_while_short", counted, `UPDATE stock_level SET reserved = 3, version = 4`, "no_oversell"},
		{"reserve_more_shortage", counted, `UPDATE stock_level SET reserved = 3, shortage = 2, version = 4`, "level_guard"},
		{
			"begin_with_a_shortage", `INSERT INTO location (location_id, code, country)
			VALUES ('00000000-0000-0000-0000-0000000000b2', 'PARIS', 'FR');`,
			`INSERT INTO stock_level (item_id, location_id, reserved, shortage) VALUES (
			'00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000b2', 1, 1)`, "level_guard",
		},
		{"shortage_of_another_size", "", `UPDATE stock_level SET on_hand = 1, shortage = 2, version = 3`, "shortage_exact"},
		{"lower_below_promises_silently", "", `UPDATE stock_level SET on_hand = 1, version = 3`, "no_oversell"},
		{"below_zero", "", `UPDATE stock_level SET on_hand = -1, version = 3`, "qty_check"},
		{"change_without_ledger", "", `UPDATE stock_level SET on_hand = 9, version = 3`, "level_has_movement"},
		{"version_without_ledger", "", `UPDATE stock_level SET version = 3`, "level_has_movement"},
		{"ledger_of_another_delta", "", `UPDATE stock_level SET on_hand = 9, version = 3;` +
			move("3 receive 3 0 0 8 2 0 c3"), "level_has_movement"},
		{"ledger_of_another_sum", "", `UPDATE stock_level SET on_hand = 9, version = 3;` +
			move("3 receive 3 0 0 9 2 0 c3"), "movement_chain"},
		{"ledger_without_change", "", move("3 receive 3 0 0 8 2 0 c3"), "movement_chain"},
		{"ship_without_reservation", "", `UPDATE stock_level SET on_hand = 4, version = 3;` +
			move("3 ship -1 0 0 4 2 0 c3"), "kind_shape"},
		{"release_that_reserves", "", `UPDATE stock_level SET reserved = 3, version = 3;` +
			move("3 release 0 1 0 5 3 0 c3"), "kind_shape"},
		{"unknown_kind", "", `UPDATE stock_level SET on_hand = 9, version = 3;` +
			move("3 gift 4 0 0 9 2 0 c3"), "kind_shape"},
		{"stale_write", "", `UPDATE stock_level SET on_hand = 9, version = 1`, "level_guard"},
		{"write_without_version", "", `UPDATE stock_level SET on_hand = 9`, "level_guard"},
		{"version_skipped", "", `UPDATE stock_level SET on_hand = 9, version = 4;` +
			move("4 receive 4 0 0 9 2 0 c3"), "movement_chain"},
		{"same_cause_twice", "", `UPDATE stock_level SET reserved = 4, version = 3;` +
			move("3 reserve 0 2 0 5 4 0 d1"), "cause_once"},
		{"update_history", "", `UPDATE movement SET reason = 'better'`, "append_only"},
		{"delete_history", "", `DELETE FROM movement`, "append_only"},
		{"truncate_history", "", `TRUNCATE movement`, "append_only"},
		{"delete_level", `DELETE FROM reservation_line`, `DELETE FROM stock_level`, "level_guard"},
		{"second_live_reservation", "", hold + `1` + saga + `'held', now(), NULL)`, "reservation_live"},
		{"hold_without_end", "", hold + `2` + saga + `'held', NULL, NULL)`, "hold_has_end"},
		{"held_and_decided", "", hold + `2` + saga + `'held', now(), now())`, "decided_when_not_held"},
		{"released_and_undecided", "", hold + `2` + saga + `'released', now(), NULL)`, "decided_when_not_held"},
		{"unknown_state", "", hold + `2` + saga + `'lost', now(), now())`, "state_known"},
		{"ship_and_release_too_much", "", `UPDATE reservation_line SET shipped = 2, released = 1`, "line_conserved"},
		{"promise_of_nothing", "", `UPDATE reservation_line SET qty = 0`, "qty_positive"},
		{
			"change_what_has_ended", `UPDATE reservation SET state = 'expired', decided_at = now();`,
			`UPDATE reservation SET state = 'consumed'`, "reservation_final",
		},
		{
			"expire_what_is_committed", `UPDATE reservation SET state = 'committed', decided_at = now();`,
			`UPDATE reservation SET state = 'expired'`, "reservation_final",
		},
		{"lower_case_sku", "", `UPDATE item SET sku = 'mug'`, "sku_shape"},
		{"gtin_of_9_digits", "", `UPDATE item SET gtin = '123456789'`, "gtin_shape"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := try(t, pool, c.before, c.write)
			require.Error(t, err)
			require.Equal(t, c.constraint, pg.Constraint(err), "%v", err)
		})
	}
}

func TestSchema_AcceptsLegalWrites(t *testing.T) { //nolint:tparallel // parts share a database, in turn
	t.Parallel()
	pool := honestDB(t)
	for _, c := range []struct{ name, write string }{
		{"receive", `UPDATE stock_level SET on_hand = 9, version = 3;` + move("3 receive 4 0 0 9 2 0 c3")},
		{"reserve", `UPDATE stock_level SET reserved = 5, version = 3;` + move("3 reserve 0 3 0 5 5 0 d2")},
		{"ship", `UPDATE stock_level SET on_hand = 3, reserved = 0, version = 3;` + move("3 ship -2 -2 0 3 0 0 d1")},
		{"two_moves_in_one_write", `UPDATE stock_level SET on_hand = 7, reserved = 0, version = 4;` +
			move("3 release 0 -2 0 5 0 0 d1") + move("4 receive 2 0 0 7 0 0 c3")},
		{"count_below_promises_and_release", countedOne + move("3 adjust -4 0 0 1 2 0 c3") +
			`UPDATE stock_level SET reserved = 0, shortage = 0, version = 4;` + move("4 release 0 -2 0 1 0 0 d1")},
		{"backorder_limit", `UPDATE stock_level SET backorder_limit = 10;
			UPDATE stock_level SET reserved = 12, version = 3;` + move("3 reserve 0 10 0 5 12 0 d2")},
		{"second_purpose", `INSERT INTO reservation (reservation_id, order_id, saga_id, purpose, state, expires_at)
			SELECT '00000000-0000-0000-0000-0000000000d2', order_id, saga_id, 'edit:1', 'held', now() FROM reservation`},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, try(t, pool, "", c.write))
		})
	}
}

func honestDB(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.DB(t, migrations.FS("inventory"))
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error { return run(t.Context(), tx, honestStart) }))
	return pool
}

// try runs statements in a transaction up to where it would commit, and rolls back.
func try(t *testing.T, pool *pgxpool.Pool, before, statements string) error {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	// The deferred triggers speak when they are made immediate, as they do at a commit.
	require.NoError(t, run(t.Context(), tx, before+`; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED`))
	return run(t.Context(), tx, statements+`; SET CONSTRAINTS ALL IMMEDIATE`)
}

func run(ctx context.Context, tx pgx.Tx, statements string) error {
	_, err := tx.Conn().PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// The lists that stand in Go and in SQL are the same lists.
func TestSchema_ListsMatchTheCode(t *testing.T) {
	t.Parallel()
	ddl, err := os.ReadFile("../../migrations/inventory/00002_inventory.sql")
	require.NoError(t, err)
	var states []string
	for _, s := range inventory.States() {
		states = append(states, "'"+string(s)+"'")
	}
	require.Contains(t, string(ddl), "CONSTRAINT state_known CHECK (state IN ("+strings.Join(states, ", ")+"))")
	var kinds []string
	for _, match := range regexp.MustCompile(`WHEN '(\w+)'\s+THEN`).FindAllStringSubmatch(string(ddl), -1) {
		kinds = append(kinds, match[1])
	}
	var inCode []string
	for _, k := range inventory.Kinds() {
		inCode = append(inCode, string(k))
	}
	require.Equal(t, kinds, inCode)
}
