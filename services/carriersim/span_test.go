package carriersim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/carriersim"
)

// The ledger can be read in pieces that fit together.
func TestLedger_in_spans(t *testing.T) {
	t.Parallel()
	c := start(t, carriersim.Config{})
	for _, reference := range []string{"ref-b", "ref-a", "ref-c"} {
		shipment := c.must("POST", "/v1/shipments", strings.Replace(parcelTo("DE", "10115"), "ref-1", reference, 1))
		_, err := c.buy(shipment)
		require.NoError(t, err)
	}
	for query, want := range map[string][]string{
		"": {"ref-b", "ref-a", "ref-c"}, "?to=ref-a": {"ref-a"}, "?after=ref-a&to=ref-b": {"ref-b"}, "?after=ref-b": {"ref-c"},
		"?reference=ref-a": {"ref-a"},
	} {
		var entries []carriersim.Entry
		require.NoError(t, json.Unmarshal([]byte(c.must("GET", "/admin/ledger"+query, "").body), &entries))
		references := []string{}
		for _, e := range entries {
			references = append(references, e.Reference)
		}
		require.Equal(t, want, references, query)
	}
}
