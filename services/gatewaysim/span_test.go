package gatewaysim_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/gatewaysim"
)

// The ledger can be read in pieces that fit together, whatever the orders are called.
func TestLedger_in_spans(t *testing.T) {
	t.Parallel()
	g := start(t, gatewaysim.Config{})
	for i, order := range []string{"", "b", "a", "c"} {
		r := g.must("POST", "/v1/payment_intents", "", map[string]any{
			"amount": 1999, "currency": "EUR", "payment_method": "tok_visa", "metadata": map[string]string{"order_id": order},
		})
		g.mustPost(r.fields["id"].(string), "confirm", string(rune('k'+i)))
	}
	for query, want := range map[string][]string{
		"": {"", "b", "a", "c"}, "?to=a": {"", "a"}, "?after=a&to=b": {"b"}, "?after=b": {"c"}, "?order_id=a": {"a"},
	} {
		var entries []gatewaysim.Entry
		require.NoError(t, json.Unmarshal(g.must("GET", "/admin/ledger"+query, "", nil).body, &entries))
		orders := []string{}
		for _, e := range entries {
			orders = append(orders, e.OrderID)
		}
		require.Equal(t, want, orders, query)
	}
}
