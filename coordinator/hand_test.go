package coordinator_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/pgtest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// two coordinators of one database, whose doors are shut.
func two(t *testing.T) (a, b *coordinator.Service, s *system) {
	t.Helper()
	a, s = newService(t)
	b, err := coordinator.New(t.Context(), s.config, testLog(t))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return a, b, s
}

func replyTo(step string, op sagav1.Operation, seq uint32) *sagav1.Reply {
	r := &sagav1.Reply{Step: step, Generation: 1, Operation: op, EffectSeq: seq}
	if op == sagav1.Operation_OPERATION_UNDO {
		r.Outcome = &sagav1.Reply_Undone{Undone: &sagav1.Undone{}}
	} else {
		r.Outcome = &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1}}}}
	}
	return r
}

// What a coordinator remembers of a saga is out of date as soon as another one has written it.
func TestHand_nothing_is_decided_on_what_another_coordinator_has_changed(t *testing.T) {
	t.Parallel()
	a, b, s := two(t)
	const do, undo = sagav1.Operation_OPERATION_DO, sagav1.Operation_OPERATION_UNDO
	ids := accept(t.Context(), t, a, "stale", 20)
	reply := func(c *coordinator.Service, r *sagav1.Reply) int {
		t.Helper()
		commands, err := c.Reply(t.Context(), ids, r)
		require.NoError(t, err)
		return commands
	}
	require.Equal(t, 20, reply(b, replyTo("reserve_stock", do, 1)), "b reads what a has written")
	require.Zero(t, reply(a, replyTo("reserve_stock", do, 1)), "a does not send again what b has sent")
	refused := replyTo("authorize_payment", do, 1)
	refused.Outcome = &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "card_declined"}}
	require.Equal(t, 20, reply(b, refused), "the stock is given back")
	// As a remembers the sagas they go forward, and nobody has asked for this.
	require.Zero(t, reply(a, replyTo("reserve_stock", undo, 2)))
	pool := pgtest.Pool(t, s.url)
	var compensated, attention int
	require.NoError(t, pool.QueryRow(t.Context(),
		"SELECT count(*) FILTER (WHERE state = 5), count(*) FILTER (WHERE attention <> 0) FROM saga").Scan(&compensated, &attention))
	require.Equal(t, 20, compensated)
	require.Zero(t, attention)
}

// That nothing is to be done is decided on a state as well. As a remembers the sagas, their stock is reserved, and to be
// told so again means nothing; in truth it was given back, and the reservation was made after the proof of that.
func TestHand_an_event_is_not_ignored_on_an_old_state(t *testing.T) {
	t.Parallel()
	a, b, _ := two(t)
	ids := accept(t.Context(), t, a, "ignored", 3)
	const do, undo = sagav1.Operation_OPERATION_DO, sagav1.Operation_OPERATION_UNDO
	refused := replyTo("authorize_payment", do, 1)
	refused.Outcome = &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "card_declined"}}
	_, err := a.Reply(t.Context(), ids, replyTo("reserve_stock", do, 1))
	require.NoError(t, err)
	for _, reply := range []*sagav1.Reply{refused, replyTo("reserve_stock", undo, 2)} {
		_, err := b.Reply(t.Context(), ids, reply)
		require.NoError(t, err)
	}
	commands, err := a.Reply(t.Context(), ids, replyTo("reserve_stock", do, 3))
	require.NoError(t, err)
	require.Equal(t, len(ids), commands, "the stock is given back again")
}

// Many writers of the same sagas, in one process and in two: every write is made once, and each rests on the one before.
func TestHand_writers_do_not_pass_each_other(t *testing.T) {
	t.Parallel()
	a, b, s := two(t)
	ids := accept(t.Context(), t, a, "race", 8)
	var writers sync.WaitGroup
	for i, c := range []*coordinator.Service{a, a, b} {
		writers.Go(func() {
			for n := range 10 {
				list := ids[(i+n)%4:] // overlapping, never the same
				kind := []saga.EventKind{saga.OperatorPause, saga.OperatorResume}[n%2]
				for c.Tell(t.Context(), list, kind) != nil { // others were faster every time
				}
			}
		})
	}
	writers.Wait()
	pool := pgtest.Pool(t, s.url)
	for _, id := range ids {
		var gaps string
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT coalesce(string_agg(revision::text, ',' ORDER BY seq), '')
			FROM (SELECT seq, revision, lag(revision) OVER (ORDER BY seq) AS previous FROM saga_history WHERE saga_id = $1) AS h
			WHERE revision < previous OR revision > previous + 1`, id).Scan(&gaps))
		require.Empty(t, gaps, "revisions of saga %s in the order of its history", id)
	}
}

// A saga is remembered as it is stored, to the microsecond: whoever reads it finds what the writer goes on with.
func TestHand_remembers_what_is_stored(t *testing.T) {
	t.Parallel()
	c, _ := newService(t)
	for i, step := range []string{"", "reserve_stock", "authorize_payment"} {
		ids := accept(t.Context(), t, c, fmt.Sprint("as stored ", i), 3)
		if step != "" {
			_, err := c.Reply(t.Context(), ids, replyTo("reserve_stock", sagav1.Operation_OPERATION_DO, 1))
			require.NoError(t, err)
			_, err = c.Reply(t.Context(), ids, replyTo(step, sagav1.Operation_OPERATION_DO, 1))
			require.NoError(t, err)
		}
		for _, id := range ids {
			remembered, stored, err := c.Remembered(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, stored, remembered)
		}
	}
}

// Without its order's document a saga cannot command anything. It is not remembered so: once the document is back, as after
// a restore that was made in pieces, the next event finds it.
func TestHand_a_missing_document_is_looked_for_again(t *testing.T) {
	t.Parallel()
	a, b, s := two(t)
	ids := accept(t.Context(), t, a, "torn", 1)
	pool := pgtest.Pool(t, s.url)
	aside := func(from, to string) {
		t.Helper()
		_, err := pool.Exec(t.Context(), "WITH gone AS (DELETE FROM "+from+" RETURNING *) INSERT INTO "+to+" SELECT * FROM gone")
		require.NoError(t, err)
	}
	_, err := pool.Exec(t.Context(), "CREATE TABLE aside (LIKE order_document)")
	require.NoError(t, err)
	aside("order_document", "aside")
	// b has not seen the saga before, and pausing it needs no document.
	require.NoError(t, b.Tell(t.Context(), ids, saga.OperatorPause))
	aside("aside", "order_document")
	require.NoError(t, b.Tell(t.Context(), ids, saga.OperatorResume))
	commands, err := b.Reply(t.Context(), ids, replyTo("reserve_stock", sagav1.Operation_OPERATION_DO, 1))
	require.NoError(t, err)
	require.Equal(t, 1, commands)
}
