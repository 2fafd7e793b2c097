package system_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	"recourse.dev/services/standalone/stack"
)

// hourly probes come too late for any test: what is in doubt is resolved by a webhook or not at all.
func hourly(o *stack.Options) {
	withPatience(o)
	for _, name := range []string{stack.Payment, stack.Shipping} {
		o.MemberEnv[name] = append(o.MemberEnv[name], "PROBE_DELAYS=1h", "GATEWAY_TIMEOUT=1s", "CARRIER_TIMEOUT=1s")
	}
}

func toZip(zip string) func(*coordinatorapi.NewOrder) {
	return func(o *coordinatorapi.NewOrder) { o.ShipTo.PostalCode = &zip }
}

// The answers to charge, authorization, void and purchase are lost, the next probes are an hour away, and every order
// ends in seconds because the providers tell.
func TestWebhooks_instead_of_probes(t *testing.T) {
	t.Parallel()
	p := start(t, hourly)
	p.sell("SKU-MUG", 1000)
	want := map[string]string{}
	for range 3 {
		want[p.submit(mug(token("tok_answer_lost")))] = "completed"
		want[p.submit(mug(token("tok_capture_answer_lost")))] = "completed"
		want[p.submit(mug(token("tok_capture_500_saved")))] = "completed"
		want[p.submit(mug(token("tok_late_effect")))] = "completed"
		want[p.submit(mug(toZip("BUY-LOST")))] = "completed"
		want[p.submit(mug(toZip("BUY-500")))] = "completed"
		want[p.submit(mug(func(o *coordinatorapi.NewOrder) {
			token("tok_void_answer_lost")(o)
			o.ShipTo.Country = "AQ"
		}))] = "cancelled address_not_served"
	}
	p.comeTo(want)
	require.Positive(t, p.events(stack.Payment, "woke"))
	require.Positive(t, p.events(stack.Shipping, "woke"))
}

// Every fault of the channel at once, forged events on top, and a gateway that is stopped with events undelivered: the
// books are the same as without any webhook.
func TestWebhooks_late_doubled_reordered_dropped_and_forged(t *testing.T) {
	t.Parallel()
	p := start(t, withPatience)
	p.sell("SKU-MUG", 1000)
	for _, simulator := range []string{stack.GatewaySim, stack.CarrierSim} {
		for kind, delay := range map[string]int{"late": 700, "duplicate": 0, "reorder": 500, "drop": 0} {
			p.must(http.MethodPut, p.URL(simulator)+"/admin/faults", "", map[string]any{
				"route": "webhook", "kind": kind, "probability": 0.3, "delay_ms": delay,
			}, nil)
		}
	}
	want := p.variety(24)
	for i := range 20 {
		id := p.submit(mug([]func(*coordinatorapi.NewOrder){
			token("tok_answer_lost"), token("tok_capture_answer_lost"), toZip("BUY-LOST"), token("tok_late_effect"),
		}[i%4]))
		want[id] = "completed"
		for _, what := range []string{"payment_intent.canceled", "payment_intent.payment_failed", "payment_intent.succeeded"} {
			p.forge(stack.Payment, "gateway", what, id)
			p.forge(stack.Shipping, "carrier", what, id)
		}
	}
	// The faults end with the process of the simulator, so they have to strike before.
	require.EventuallyWithT(t, func(c *collect) {
		require.Positive(c, p.counter(stack.Payment, `recourse_webhook_events_total{result="duplicate"}`))
	}, 30*time.Second, 100*time.Millisecond)
	require.NoError(t, p.Halt(t.Context(), stack.GatewaySim))
	require.NoError(t, p.Restart(t.Context(), stack.GatewaySim))
	p.comeTo(want)
	require.Zero(t, p.counter(stack.Payment, `recourse_webhook_events_total{result="unknown"}`))
	require.EqualValues(t, 60, p.counter(stack.Payment, `recourse_webhook_events_total{result="refused"}`))
}

// forge posts an event that nobody has signed with the right secret.
func (p *platform) forge(member, path, what, order string) {
	p.t.Helper()
	body := fmt.Sprintf(`{"id":"evt_f","type":%q,"data":{"object":{"id":"pi_f","metadata":{"order_id":%q}}}}`, what, order)
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.URL(member)+"/v1/webhooks/"+path,
		strings.NewReader(body))
	require.NoError(p.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", "evt_f")
	request.Header.Set("Webhook-Timestamp", fmt.Sprint(time.Now().Unix()))
	request.Header.Set("Webhook-Signature", "v1,Zm9yZ2Vk")
	response, err := p.client.Do(request)
	require.NoError(p.t, err)
	require.NoError(p.t, response.Body.Close())
	require.Equal(p.t, http.StatusUnauthorized, response.StatusCode)
}

// events counts a member's webhooks of one outcome.
func (p *platform) events(member, outcome string) int {
	p.t.Helper()
	var page paymentapi.WebhookEventPage
	p.must(http.MethodGet, p.URL(member)+"/v1/webhook-events?limit=200&outcome="+outcome, "", nil, &page)
	return len(page.Events)
}

// counter reads one metric of a member.
func (p *platform) counter(member, name string) float64 {
	p.t.Helper()
	status, body := p.call(http.MethodGet, p.URL(member)+"/metrics", "", nil)
	require.Equal(p.t, http.StatusOK, status)
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			require.NoError(p.t, err)
			return value
		}
	}
	require.Failf(p.t, "no such metric", "%s of %s", name, member)
	return 0
}
