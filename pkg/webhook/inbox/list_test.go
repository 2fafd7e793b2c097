package inbox_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/webhook/inbox"
)

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		b.receive(t, fmt.Sprintf("evt_%d", i), "known")
	}
	b.receive(t, "evt_5", "stranger")
	// Events that came at one instant are told apart by their ids.
	_, err := b.Pool.Exec(t.Context(), `UPDATE webhook_event SET received_at = (SELECT min(received_at) FROM webhook_event)`)
	require.NoError(t, err)
	ids := func(t *testing.T, f inbox.Filter) ([]string, *string) {
		t.Helper()
		list, next, err := inbox.List(t.Context(), b.Pool, f)
		require.NoError(t, err)
		found := make([]string, len(list))
		for i := range list {
			found[i] = list[i].EventID
		}
		return found, next
	}
	text := func(s string) *string { return &s }

	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		first, next := ids(t, inbox.Filter{Limit: 4})
		require.Equal(t, []string{"evt_5", "evt_4", "evt_3", "evt_2"}, first)
		second, next := ids(t, inbox.Filter{Limit: 4, Cursor: next})
		require.Equal(t, []string{"evt_1", "evt_0"}, second)
		require.Nil(t, next)
	})
	t.Run("filters", func(t *testing.T) {
		t.Parallel()
		for _, f := range []inbox.Filter{
			{ObjectRef: text("stranger")}, {Reference: text("ref stranger")}, {Outcome: text("unknown")},
		} {
			f.Limit = 10
			found, _ := ids(t, f)
			require.Equal(t, []string{"evt_5"}, found)
		}
	})
	t.Run("refuses_a_cursor_that_it_has_not_made", func(t *testing.T) {
		t.Parallel()
		for _, cursor := range []string{"!", "AAAA", "__________8x", "AAAAAAAAAAAA_w"} {
			_, _, err := inbox.List(t.Context(), b.Pool, inbox.Filter{Limit: 1, Cursor: &cursor})
			require.ErrorContains(t, err, "cursor", cursor)
		}
	})
}
