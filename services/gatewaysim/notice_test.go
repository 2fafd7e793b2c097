package gatewaysim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/services/gatewaysim"
)

// Every outcome is told, in the provider's words, and after a restart with the same ids: what was delivered before is
// not sent again, what was not is.
func TestWebhooks_tell_every_outcome(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		told = map[string]string{} // type and object by id of the event
	)
	// Another address, because a request that its sender has given up may be on its way still.
	asleep := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer asleep.Close()
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var event struct {
			Type string
			Data struct{ Object struct{ ID string } }
		}
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.NoError(t, json.Unmarshal(body, &event))
		id := r.Header.Get("Webhook-Id")
		assert.NotContains(t, told, id, "delivered before")
		told[id] = event.Type + " " + event.Data.Object.ID
	}))
	defer receiver.Close()
	config := gatewaysim.Config{
		LedgerPath: filepath.Join(t.TempDir(), "ledger.jsonl"),
		HookSettings: sandbox.HookSettings{
			WebhookURL: asleep.URL, WebhookSecret: "whsec_YSBzZWNyZXQgb2YgdGhlIGdhdGV3YXkncyB0ZXN0",
			WebhookDelay: time.Millisecond, WebhookRetries: []time.Duration{10 * time.Millisecond},
		},
	}
	g := start(t, config)
	captured, voided, declined := g.create("tok_visa"), g.create("tok_visa"), g.create("tok_declined")
	expired := g.create("tok_auth_expires")
	for _, id := range []string{captured, voided, declined, expired} {
		g.mustPost(id, "confirm", "confirm-"+id)
		g.mustPost(id, "confirm", "confirm-"+id)
	}
	g.mustPost(captured, "capture", "")
	g.mustPost(expired, "capture", "")
	g.mustPost(voided, "cancel", "")
	refund := g.must("POST", "/v1/refunds", "", map[string]any{"payment_intent": captured}).fields["id"].(string)
	want := []string{
		"payment_intent.amount_capturable_updated " + captured, "payment_intent.amount_capturable_updated " + voided,
		"payment_intent.amount_capturable_updated " + expired, "payment_intent.payment_failed " + declined,
		"payment_intent.succeeded " + captured, "payment_intent.canceled " + voided,
		"payment_intent.canceled " + expired, "refund.created " + refund,
	}
	require.Equal(t, len(want), g.Webhooks().Waiting)
	g.stop()

	config.WebhookURL = receiver.URL
	g = start(t, config)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, sandbox.HookStats{Delivered: len(want)}, g.Webhooks())
	}, 20*time.Second, 5*time.Millisecond)
	g.stop()
	g = start(t, config)
	require.Zero(t, g.Webhooks())
	require.JSONEq(t, `{"waiting":0,"postponed":0,"delivered":0,"failed":0,"dropped":0,"given_up":0}`,
		string(g.must("GET", "/admin/webhooks", "", nil).body))
	mu.Lock()
	defer mu.Unlock()
	have := []string{}
	for _, what := range told {
		have = append(have, what)
	}
	require.ElementsMatch(t, want, have)
}
