package gatewaysim_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/gatewaysim"
)

func TestRestart_everything_is_rebuilt_from_the_ledger(t *testing.T) {
	t.Parallel()

	config := gatewaysim.Config{LedgerPath: filepath.Join(t.TempDir(), "gateway", "ledger.jsonl"), LedgerFsync: true}
	g := start(t, config)
	captured, voided, held := g.create("tok_visa"), g.create("tok_visa"), g.create("tok_answer_lost_2")
	first := g.mustPost(captured, "confirm", "confirm-1")
	g.mustPost(captured, "capture", "capture-1")
	refund := g.must("POST", "/v1/refunds", "refund-1", map[string]any{"payment_intent": captured, "amount": 99})
	g.mustPost(voided, "confirm", "confirm-2")
	g.mustPost(voided, "cancel", "cancel-2")
	_, err := g.post(held, "confirm", "confirm-3")
	require.Error(t, err)
	ledger, totals := g.Ledger(), g.Totals()
	intent := g.must("GET", "/v1/payment_intents/"+captured, "", nil)
	g.stop()

	g = start(t, config)
	require.Equal(t, ledger, g.Ledger())
	require.Equal(t, totals, g.Totals())
	require.Equal(t, intent.body, g.must("GET", "/v1/payment_intents/"+captured, "", nil).body)
	again := g.mustPost(captured, "confirm", "confirm-1")
	require.True(t, again.replayed)
	require.Equal(t, first.body, again.body)
	require.Equal(t, refund.body, g.must("GET", "/v1/refunds/"+refund.fields["id"].(string), "", nil).body)
	_, err = g.post(held, "confirm", "confirm-3")
	require.Error(t, err, "the second of two answers is lost as well")
	require.True(t, g.mustPost(held, "confirm", "confirm-3").replayed)
	g.mustPost(held, "cancel", "")
	require.Equal(t, ledger[len(ledger)-1].Seq+1, g.Ledger()[len(ledger)].Seq)
}

// TestRestart_after_a_kill_at_any_byte cuts the ledger file wherever a kill could have: the gateway starts, and a
// request either happened wholly or not at all.
func TestRestart_after_a_kill_at_any_byte(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	config := gatewaysim.Config{LedgerPath: filepath.Join(dir, "ledger.jsonl")}
	g := start(t, config)
	id := g.create("tok_visa")
	g.mustPost(id, "confirm", "confirm")
	g.must("POST", "/v1/payment_intents/"+id+"/capture", "capture", map[string]any{"amount_to_capture": 1})
	g.stop()
	whole, err := os.ReadFile(config.LedgerPath)
	require.NoError(t, err)

	lines := 3
	require.Equal(t, lines, bytes.Count(whole, []byte("\n")))
	cut := gatewaysim.Config{LedgerPath: filepath.Join(dir, "cut.jsonl")}
	for end := range whole {
		require.NoError(t, os.WriteFile(cut.LedgerPath, whole[:end], 0o600))
		server, err := gatewaysim.New(cut, slog.New(slog.DiscardHandler))
		require.NoError(t, err, "cut at byte %d", end)
		want := []int{0, 0, 1}[bytes.Count(whole[:end], []byte("\n"))]
		require.Len(t, server.Ledger(), want, "cut at byte %d", end)
	}

	require.NoError(t, os.WriteFile(cut.LedgerPath, whole[:len(whole)-1], 0o600))
	g = start(t, cut)
	require.Equal(t, "requires_capture", g.status(id))
	require.Equal(t, "succeeded", g.mustPost(id, "capture", "capture").fields["status"])
	g.stop()
	g = start(t, cut)
	require.Equal(t, "succeeded", g.status(id), "what was written after the torn line is whole")
}

func TestRestart_refuses_a_ledger_that_is_not_one(t *testing.T) {
	t.Parallel()

	const head = `{"at":"2026-01-02T03:04:05Z","route":"confirm",`
	cases := []struct{ name, line, says string }{
		{"not JSON", "hello\n", "line 1"},
		{"another file", `{"level":"info"}` + "\n", "unknown field"},
		{"a gap", head + `"entries":[{"seq":7,"currency":"EUR"}]}` + "\n", "entry 7"},
		{"a currency", head + `"entries":[{"seq":1,"currency":"X"}]}` + "\n", "currency"},
		{"endless", head + `"intent":{"id":"pi_1","status":"requires_capture"}}` + "\n", "pi_1"},
		{"an orphan", head + `"refund":{"id":"re_1"}}` + "\n", "re_1"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(tc.line), 0o600))
			_, err := gatewaysim.New(gatewaysim.Config{LedgerPath: path}, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, tc.says)
			require.ErrorContains(t, err, path)
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, tc.line, string(kept), "a refused ledger is left alone")
		})
	}
}
