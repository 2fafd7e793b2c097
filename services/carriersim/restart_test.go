package carriersim_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/carriersim"
)

func TestRestart_everything_is_rebuilt_from_the_ledger(t *testing.T) {
	t.Parallel()

	config := carriersim.Config{LedgerPath: filepath.Join(t.TempDir(), "carrier", "ledger.jsonl"), LedgerFsync: true}
	c := start(t, config)
	live, given, free, rejected := c.create("10115"), c.create("10115"), c.create("10115"), c.create("REFUND-REJECTED")
	for _, shipment := range []response{live, given, rejected} {
		_, err := c.buy(shipment)
		require.NoError(t, err)
	}
	for _, shipment := range []response{given, rejected} {
		_, err := c.refund(shipment)
		require.NoError(t, err)
	}
	ledger, totals := c.Ledger(), c.Totals()
	require.Equal(t, 2, totals.LabelsLive)
	bodies := map[string]string{}
	for _, shipment := range []response{live, given, free, rejected} {
		bodies[shipment.ID] = c.get(shipment).body
	}
	c.stop()

	c = start(t, config)
	require.Equal(t, ledger, c.Ledger())
	require.Equal(t, totals, c.Totals())
	for _, shipment := range []response{live, given, free, rejected} {
		require.Equal(t, bodies[shipment.ID], c.get(shipment).body)
	}
	again, err := c.buy(live)
	require.NoError(t, err)
	require.Equal(t, "shipment_already_bought", again.Error.Code)
	_, err = c.buy(free)
	require.NoError(t, err)
	require.Len(t, c.Ledger(), len(ledger)+1)
}

// TestRestart_after_a_kill_at_any_byte cuts the ledger file wherever a kill could have.
func TestRestart_after_a_kill_at_any_byte(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	config := carriersim.Config{LedgerPath: filepath.Join(dir, "ledger.jsonl")}
	c := start(t, config)
	shipment := c.create("10115")
	_, err := c.buy(shipment)
	require.NoError(t, err)
	_, err = c.refund(shipment)
	require.NoError(t, err)
	c.stop()
	whole, err := os.ReadFile(config.LedgerPath)
	require.NoError(t, err)

	cut := carriersim.Config{LedgerPath: filepath.Join(dir, "cut.jsonl")}
	for end := range len(whole) + 1 {
		require.NoError(t, os.WriteFile(cut.LedgerPath, whole[:end], 0o600))
		server, err := carriersim.New(cut, slog.New(slog.DiscardHandler))
		require.NoError(t, err, "cut at byte %d", end)
		want := max(bytes.Count(whole[:end], []byte("\n"))-1, 0)
		require.Len(t, server.Ledger(), want, "cut at byte %d", end)
	}
}

func TestRestart_refuses_a_ledger_that_is_not_one(t *testing.T) {
	t.Parallel()

	cases := []struct{ name, line, says string }{
		{"not JSON", "hello\n", "line 1"},
		{"no shipment", "{}\n", "no shipment"},
		{"a gap", `{"shipment":{"id":"shp_1"},"entry":{"seq":2}}` + "\n", "entry 2"},
		{"half", `{"shipment":{"id":"shp_1","tracking_code":"SIM1"}}` + "\n", "by half"},
		{
			"a rate", `{"shipment":{"id":"shp_1","tracking_code":"S","selected_rate":{"rate":"x","currency":"EUR"}}}` + "\n",
			"shp_1",
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(tc.line), 0o600))
			_, err := carriersim.New(carriersim.Config{LedgerPath: path}, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, tc.says)
			require.ErrorContains(t, err, path)
		})
	}
}
