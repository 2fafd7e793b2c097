package coordinator_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// An auditor reads every order once, oldest first, with what it is about.
func TestBooks(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	var placed []uuid.UUID
	for _, key := range []string{"k1", "k2", "k3"} {
		placed = append(placed, n.submit(key, newOrder()).ID)
	}
	for _, id := range placed {
		n.awaitStatus(id, "completed")
	}
	var (
		seen []uuid.UUID
		next = "/v1/books?limit=2"
	)
	for next != "" {
		a := n.call(http.MethodGet, next, nil, nil)
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
		var page coordinatorapi.BookPage
		require.NoError(t, json.Unmarshal(a.Body, &page))
		for _, e := range page.Entries {
			o := n.order(e.OrderID)
			require.Equal(t, coordinatorapi.OrderStatusCompleted, e.Status)
			require.Equal(t, []any{o.Currency, o.TotalMinor, o.CreatedAt}, []any{e.Currency, e.TotalMinor, e.CreatedAt})
			require.Len(t, e.Lines, len(o.Lines))
			require.Equal(t, []any{o.Lines[0].Sku, o.Lines[0].Quantity}, []any{e.Lines[0].Sku, e.Lines[0].Quantity})
			seen = append(seen, e.OrderID)
		}
		next = ""
		if page.NextAfter != nil {
			next = "/v1/books?limit=2&after_order=" + page.NextAfter.String()
		}
	}
	require.Equal(t, placed, seen)
}
