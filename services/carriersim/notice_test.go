package carriersim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/services/carriersim"
)

func TestWebhooks_tell_every_label(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event struct {
			Description string
			Result      carriersim.Tracker
		}
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.NoError(t, json.Unmarshal(body, &event))
		assert.Equal(t, "ref-1", event.Result.Reference)
		told <- event.Description + " " + event.Result.ShipmentID
	}))
	defer receiver.Close()
	c := start(t, carriersim.Config{HookSettings: sandbox.HookSettings{
		WebhookURL: receiver.URL, WebhookSecret: "whsec_YSBzZWNyZXQgb2YgdGhlIGNhcnJpZXIncyB0ZXN0",
		WebhookDelay: time.Millisecond,
	}})
	shipment, rejected := c.create("10115"), c.create("REFUND-REJECTED")
	for _, s := range []response{shipment, rejected} {
		_, err := c.buy(s)
		require.NoError(t, err)
		require.Equal(t, "tracker.created "+s.ID, <-told)
	}
	_, err := c.refund(shipment)
	require.NoError(t, err)
	require.Equal(t, "refund.successful "+shipment.ID, <-told)
	_, err = c.refund(rejected)
	require.NoError(t, err)
	require.Equal(t, "refund.failed "+rejected.ID, <-told)
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		require.Equal(collect, sandbox.HookStats{Delivered: 4}, c.Webhooks())
	}, 10*time.Second, 2*time.Millisecond)
}
