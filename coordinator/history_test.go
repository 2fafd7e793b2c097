package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// A history outlives the builds that know its definition: the database knows what the steps are called.
func TestHistory_of_a_definition_that_is_gone(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	require.Eventually(t, func() bool { return n.order(id).EndedAt != nil }, waitFor, tick)
	history := func() (page coordinatorapi.HistoryPage) {
		n.call("GET", "/v1/sagas/"+id.String()+"/history", nil, nil).into(t, &page)
		return page
	}
	known := history()
	require.Equal(t, "reserve_stock", *known.Entries[1].Events[0].Step)
	require.Equal(t, "participant:inventory", known.Entries[1].Events[0].Actor)
	require.Equal(t, known.Entries[1].At, known.Entries[1].Events[0].At)
	require.Contains(t, known.Entries[1].Events[0].Decisions, "send authorize_payment do #1")
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO definition (hash, name, version, steps, participants)
		SELECT 42, 'gone', 1, steps, participants FROM definition WHERE hash = (SELECT definition FROM saga)`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "UPDATE saga SET definition = 42")
	require.NoError(t, err)
	require.Equal(t, known, history())
	_, err = pool.Exec(t.Context(), "DELETE FROM definition WHERE hash = 42")
	require.NoError(t, err)
	require.Len(t, history().Entries, len(known.Entries), "whatever the steps are called")
}
