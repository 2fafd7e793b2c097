package system_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
	"recourse.dev/services/standalone/stack"
)

// patient lets nothing be given up because a small machine is busy: a crowd is slow, not silent.
var patient = []string{"ANSWER_TIMEOUT=3s", "OUTSIDE_TIMEOUT=4s", "RESEND_MAX=2s", "GIVE_UP=30", "GATEWAY_TIMEOUT=5s", "CARRIER_TIMEOUT=5s"}

func withPatience(o *stack.Options) { o.Env = append(append([]string{}, o.Env...), patient...) }

func TestConcurrency_LastTenUnits(t *testing.T) {
	t.Parallel()
	p := start(t, withPatience)
	p.sell("SKU-LAST-TEN", 10)
	receipts := crowd(p, 100, func(int) (string, coordinatorapi.NewOrder) {
		o := mug(func(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-LAST-TEN" })
		return o.Reference, o
	})
	outcomes := map[string]int{}
	for _, r := range receipts {
		require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
		outcomes[outcome(p.until(r.id, "to end", ended))]++
	}
	require.Equal(t, map[string]int{"completed": 10, "cancelled out_of_stock": 90}, outcomes)
	p.addsUp(100)

	var page inventoryapi.LevelPage
	p.must(http.MethodGet, p.system.Inventory+"/v1/levels?sku=SKU-LAST-TEN", "", nil, &page)
	require.Len(t, page.Levels, 1)
	require.Zero(t, page.Levels[0].OnHand)
	require.Zero(t, page.Levels[0].Reserved)
	p.nothingParked()
}

func TestConcurrency_SameKeyOneOrder(t *testing.T) {
	t.Parallel()
	p := start(t, withPatience)
	p.sell("SKU-MUG", 100)
	o := mug(nil)
	receipts := crowd(p, 100, func(int) (string, coordinatorapi.NewOrder) { return "the-same-key", o })
	for _, r := range receipts {
		require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
		require.Equal(t, receipts[0].id, r.id)
	}
	status, body := p.call(http.MethodPost, p.system.Coordinator+"/v1/orders", "the-same-key", mug(nil))
	require.Equal(t, http.StatusUnprocessableEntity, status, "%s", body)
	require.Contains(t, string(body), "idempotency_key_reused")

	require.Equal(t, "completed", outcome(p.until(receipts[0].id, "to end", ended)))
	p.addsUp(1)
}

// Commands and replies are delivered twice, after random delays, so that most of
// them overtake others: an undo its do, an old reply a new one.
func TestConcurrency_DoubledAndShuffled(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *stack.Options) {
		withPatience(o)
		// Nothing gets lost here, and what a busy machine is slow to answer must not come on top of it once more.
		o.Env = append(o.Env, "ANSWER_TIMEOUT=1m", "OUTSIDE_TIMEOUT=1m")
		o.MemberEnv[stack.Coordinator] = []string{"KAFKA_TOPIC_PREFIX=" + o.TopicPrefix + "n"}
	})
	p.patience = 4 * time.Minute // for all of them, on a machine that has other things to do
	far := p.Kafka().TopicPrefix
	newNetwork(t, p.Kafka(), far+"n", far, true)
	p.sell("SKU-MUG", 1000)
	p.sell("SKU-GONE", 0)

	const orders = 1000
	shapes := []struct {
		outcome string
		shape   func(*coordinatorapi.NewOrder)
	}{
		{"completed", nil},
		{"cancelled card_declined", token("tok_declined")},
		{"completed", nil},
		{"cancelled address_not_served", func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }},
		{"cancelled out_of_stock", func(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-GONE" }},
		{"completed", token("tok_mastercard")},
	}
	receipts := crowd(p, orders, func(i int) (string, coordinatorapi.NewOrder) {
		o := mug(shapes[i%len(shapes)].shape)
		return o.Reference, o
	})
	want := map[string]string{}
	for i, r := range receipts {
		require.Equal(t, http.StatusAccepted, r.status, "%s", r.body)
		want[r.id] = shapes[i%len(shapes)].outcome
		require.Equal(t, want[r.id], outcome(p.until(r.id, "to end", ended)), r.id)
	}
	p.addsUp(orders)
	p.nothingParked()

	authorized, captured, bought := p.ledgers()
	for id, outcome := range want {
		effects := fmt.Sprintf("%d authorized, %d captured, %d labels", authorized[id], captured[id], bought[id])
		switch outcome {
		case "completed":
			require.Equal(t, "1 authorized, 1 captured, 1 labels", effects, id)
		case "cancelled address_not_served":
			require.Equal(t, "1 authorized, 0 captured, 0 labels", effects, id)
		default:
			require.Equal(t, "0 authorized, 0 captured, 0 labels", effects, id)
		}
	}
}

// ledgers counts, per order, what the providers' own books say was done.
func (p *platform) ledgers() (authorized, captured, bought map[string]int) {
	p.t.Helper()
	authorized, captured, bought = map[string]int{}, map[string]int{}, map[string]int{}
	var gateway []gatewaysim.Entry
	p.must(http.MethodGet, p.system.Gateway+"/admin/ledger", "", nil, &gateway)
	for _, m := range gateway {
		switch m.Kind {
		case gatewaysim.Authorize:
			authorized[m.OrderID]++
		case gatewaysim.Capture:
			captured[m.OrderID]++
		default:
		}
	}
	orders := p.shipments()
	var carrier []carriersim.Entry
	p.must(http.MethodGet, p.system.Carrier+"/admin/ledger", "", nil, &carrier)
	for _, l := range carrier {
		if l.Kind == carriersim.LabelBought {
			bought[orders[l.Reference]]++
		}
	}
	return authorized, captured, bought
}

// shipments says which order a shipment is for.
func (p *platform) shipments() map[string]string {
	p.t.Helper()
	out := map[string]string{}
	for cursor := ""; ; {
		var page struct {
			Shipments []struct {
				ShipmentID string `json:"shipment_id"`
				OrderID    string `json:"order_id"`
			} `json:"shipments"`
			NextCursor string `json:"next_cursor"`
		}
		p.must(http.MethodGet, p.system.Shipping+"/v1/shipments?limit=200"+cursor, "", nil, &page)
		for _, s := range page.Shipments {
			out[s.ShipmentID] = s.OrderID
		}
		if page.NextCursor == "" {
			return out
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

// receipt is the answer to one of many submissions.
type receipt struct {
	status int
	id     string
	body   []byte
	err    error
}

// crowd submits n orders from a hundred shops at once.
func crowd(p *platform, n int, draw func(i int) (key string, o coordinatorapi.NewOrder)) []receipt {
	p.t.Helper()
	out := make([]receipt, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(n, 100) {
		wg.Go(func() {
			for i := range next {
				out[i] = p.place(draw(i))
			}
		})
	}
	wg.Wait()
	for _, r := range out {
		require.NoError(p.t, r.err)
	}
	return out
}
