package gatewaysim_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/services/gatewaysim"
)

// TestLedger_adds_up sends random requests at random intents from many callers while connections break and answers
// fail, and then holds the ledger against the intents, before and after a restart.
func TestLedger_adds_up(t *testing.T) {
	t.Parallel()

	config := gatewaysim.Config{LedgerPath: filepath.Join(t.TempDir(), "ledger.jsonl"), Seed: 1}
	g := start(t, config)
	ids := make([]string, 12)
	for i := range ids {
		ids[i] = g.create("tok_visa")
	}
	for _, kind := range []sandbox.Kind{
		sandbox.DropBefore, sandbox.DropAfter, sandbox.Status500, sandbox.Status503, sandbox.Decline,
	} {
		require.NoError(t, g.Faults().Set(sandbox.Rule{Route: "*", Kind: kind, Probability: 0.08}))
	}
	wait := sync.WaitGroup{}
	for worker := range 16 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 60 {
				id, key := ids[random.IntN(len(ids))], ""
				if random.IntN(2) == 0 {
					key = fmt.Sprintf("key-%d", random.IntN(200))
				}
				switch verb := []string{"confirm", "capture", "cancel", "refund"}[random.IntN(4)]; verb {
				case "refund":
					body := map[string]any{"payment_intent": id, "amount": 1 + random.IntN(900)}
					_, _ = g.do(t.Context(), "POST", "/v1/refunds", key, body)
				default:
					_, _ = g.post(id, verb, key) // errors are the point: connections break
				}
			}
		})
	}
	wait.Wait()
	g.Faults().Clear()
	ledger := g.Ledger()
	checkLedger(t, g, ids)
	g.stop()
	g = start(t, config)
	require.Equal(t, ledger, g.Ledger())
	checkLedger(t, g, ids)
}

func checkLedger(t *testing.T, g *gateway, ids []string) {
	t.Helper()
	sums := map[string]map[gatewaysim.EntryKind]int64{}
	keys := map[string]bool{}
	total := gatewaysim.Sums{Currency: "EUR"}
	for i, entry := range g.Ledger() {
		require.Equal(t, int64(i+1), entry.Seq)
		if entry.IdempotencyKey != "" {
			require.False(t, keys[entry.IdempotencyKey], "a key moved money twice")
			keys[entry.IdempotencyKey] = true
		}
		if sums[entry.Intent] == nil {
			sums[entry.Intent] = map[gatewaysim.EntryKind]int64{}
		}
		sums[entry.Intent][entry.Kind] += entry.Amount
	}
	for _, id := range ids {
		intent := g.must("GET", "/v1/payment_intents/"+id, "", nil).fields
		moved := sums[id]
		held := moved["authorize"] - moved["capture"] - moved["void"]
		require.GreaterOrEqual(t, held, int64(0))
		require.LessOrEqual(t, moved["authorize"], int64(1999), "authorized at most once")
		require.LessOrEqual(t, moved["refund"], moved["capture"])
		require.InDelta(t, intent["amount_capturable"], held, 0)
		require.InDelta(t, intent["amount_received"], moved["capture"], 0)
		require.InDelta(t, intent["amount_refunded"], moved["refund"], 0)
		require.Equal(t, held > 0, intent["status"] == "requires_capture")
		total.Authorized += moved["authorize"]
		total.Captured += moved["capture"]
		total.Voided += moved["void"]
		total.Refunded += moved["refund"]
		total.Held += held
	}
	require.Equal(t, total, g.Totals().Of("EUR"))
	require.Positive(t, total.Captured, "the run got somewhere")
}
