package coordinator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// A commit may fail although every statement went well. Until it has succeeded nobody hears of what it wrote: an event
// that was published, or a timer that was set, could not be taken back.
func TestCommit_nobody_hears_of_one_that_failed(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	ids := accept(t.Context(), t, c, "h", 3)
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), fmt.Sprintf(`
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION 'refused at the commit' USING ERRCODE = 'check_violation';
		END $$;
		CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON saga DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.id = '%s') EXECUTE FUNCTION refuse()`, ids[1]))
	require.NoError(t, err)
	var heard []uuid.UUID
	c.Hear(func(id uuid.UUID) { heard = append(heard, id) })
	errs, err := c.Panic(t.Context(), ids, uuid.Nil)
	require.NoError(t, err)
	require.ErrorContains(t, errs[1], "refused at the commit")
	require.ElementsMatch(t, []uuid.UUID{ids[0], ids[2]}, heard)
}

// The key of an order that could not be stored is free again: a shop that repeats its request gets its order.
func TestCommit_a_key_is_taken_with_its_order_or_not_at_all(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), "ALTER TABLE saga ADD CONSTRAINT shut CHECK (false)")
	require.NoError(t, err)
	order := &coordinatorapi.NewOrder{
		Shop: "s", CustomerID: "c", Reference: "r", Currency: "EUR", TotalMinor: 1, PaymentToken: "tok_visa",
		Lines:  []coordinatorapi.OrderLine{{Sku: "SKU-1", Quantity: 1, UnitPriceMinor: 1}},
		ShipTo: coordinatorapi.Address{Name: "n", Lines: []string{"l"}, City: "c", Country: "DE", Email: new("a@example.com")},
	}
	_, err = c.Accept(t.Context(), []string{"k"}, []*coordinatorapi.NewOrder{order})
	require.ErrorContains(t, err, "shut")
	_, err = pool.Exec(t.Context(), "ALTER TABLE saga DROP CONSTRAINT shut")
	require.NoError(t, err)
	ids, err := c.Accept(t.Context(), []string{"k"}, []*coordinatorapi.NewOrder{order})
	require.NoError(t, err)
	var stored uuid.UUID
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT id FROM saga").Scan(&stored))
	require.Equal(t, ids[0], stored)
}

// Rows are published by what their state is, whatever was published before: ids are given out before the commit, so
// a lower one may come to light later than a higher one.
func TestOutbox_publishes_what_a_crash_left_behind_a_published_row(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	for i := range 3 {
		accept(t.Context(), t, c, fmt.Sprint("batch", i), 1)
	}
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), `
		UPDATE outbox
		SET claimed_until = now() - interval '1 minute',
			published_at = CASE WHEN id = (SELECT max(id) FROM outbox) THEN now() END`)
	require.NoError(t, err)
	s.start(t)
	require.EventuallyWithT(t, func(a *assertT) {
		var left int
		require.NoError(a, pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE published_at IS NULL").Scan(&left))
		require.Zero(a, left)
	}, waitFor, tick)
	require.Len(t, s.consumeEvents(t, 2), 2)
}

// A saga that ended and is opened again may lie below the mark of ended sagas, where no scan for due timers looks.
func TestMark_is_lowered_for_a_saga_that_is_opened_again(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	id := accept(t.Context(), t, c, "again", 1)[0]
	reply := func(seq uint32) *sagav1.Reply {
		return &sagav1.Reply{
			Step: "reserve_stock", Generation: 1, Operation: sagav1.Operation_OPERATION_DO, EffectSeq: seq,
		}
	}
	refused := reply(1)
	refused.Outcome = &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "out_of_stock"}}
	_, err := c.Reply(t.Context(), []uuid.UUID{id}, refused)
	require.NoError(t, err)
	require.NoError(t, c.RaiseMark(t.Context(), time.Now().Add(time.Minute)))
	pool := pgtest.Pool(t, s.url)
	mark := func() (mark uuid.UUID) {
		t.Helper()
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT id FROM saga_low_water").Scan(&mark))
		return mark
	}
	require.Greater(t, mark().String(), id.String(), "the saga has ended")
	done := reply(2)
	done.Outcome = &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1}}}}
	_, err = c.Reply(t.Context(), []uuid.UUID{id}, done)
	require.NoError(t, err)
	require.Equal(t, id, mark())
}
