package system_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/audit"
	"recourse.dev/services/standalone/stack"
)

// platform is a running stack and the hands of a shop on it.
type platform struct {
	*stack.Stack
	t      testing.TB
	system audit.System
	client *http.Client
	// patience bounds every wait for an order.
	patience time.Duration
}

// fast shortens every wait: a test takes seconds for what takes minutes in production.
var fast = []string{
	"ANSWER_TIMEOUT=400ms", "OUTSIDE_TIMEOUT=700ms", "RESEND_MAX=400ms", "GIVE_UP=3", "SCAN_INTERVAL=1s", "HOLD_BACK=1ms",
	"PROBE_DELAYS=200ms,500ms,1s", "PROBE_EVERY=100ms", "GATEWAY_TIMEOUT=1s", "GATEWAY_VISIBILITY=200ms", "CARRIER_TIMEOUT=1s",
	"CARRIER_VISIBILITY=200ms", "SWEEP_EVERY=100ms", "SLOW_DELAY=600ms", "LATE_DELAY=1500ms", "DRAIN_TIMEOUT=10s",
	"KAFKA_SESSION_TIMEOUT=6s", "LOG_LEVEL=info",
	// The tests place a thousand orders at once and want them all; who asks for that in production is told to come back.
	"ADMIT_WITHIN=10m",
}

var stacks atomic.Int64

// start brings up a stack of its own for a test, on the shared test server and
// on the broker of KAFKA_BROKERS or one of its own.
func start(t testing.TB, change func(*stack.Options)) *platform {
	t.Helper()
	o := options(t)
	o.DatabaseURL = pgtest.URL(t, nil)
	if change != nil {
		change(&o)
	}
	return boot(t, o)
}

// options are those of a stack that no other test shares, without a database server.
func options(t testing.TB) stack.Options {
	t.Helper()
	name := fmt.Sprintf("sys%d_%d", os.Getpid(), stacks.Add(1))
	o := stack.Options{
		DataDir: t.TempDir(), DatabasePrefix: name, TopicPrefix: name, Partitions: 4, Env: fast,
		MemberEnv: map[string][]string{},
	}
	if b := os.Getenv("KAFKA_BROKERS"); b != "" {
		o.Brokers = strings.Split(b, ",")
	}
	return o
}

// boot starts a stack, which is stopped at the latest when the test ends.
func boot(t testing.TB, o stack.Options) *platform {
	t.Helper()
	s, err := stack.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		failed := s.Failed()
		require.NoError(t, s.Stop(ctx))
		require.NoError(t, failed)
		if t.Failed() {
			t.Logf("members' logs: %s/log", o.DataDir)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	p := &platform{Stack: s, t: t, patience: time.Minute, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}}
	t.Cleanup(p.client.CloseIdleConnections)
	p.system = s.System()
	return p
}

// sell puts units of an item on the shelf.
func (p *platform) sell(sku string, units int64) {
	p.t.Helper()
	p.must(http.MethodPost, p.system.Inventory+"/v1/locations", "", map[string]any{"code": "BERLIN-1", "country": "DE"}, nil)
	p.must(http.MethodPost, p.system.Inventory+"/v1/items", "", map[string]any{"sku": sku}, nil)
	if units > 0 {
		p.must(http.MethodPost, p.system.Inventory+"/v1/stock/receive", fmt.Sprintf("%s-%d", sku, stacks.Add(1)),
			map[string]any{"lines": []any{map[string]any{"sku": sku, "location": "BERLIN-1", "quantity": units}}}, nil)
	}
}

// mug is an order for one mug that goes through.
func mug(change func(*coordinatorapi.NewOrder)) coordinatorapi.NewOrder {
	zip, mail := "10117", "ada@example.com"
	o := coordinatorapi.NewOrder{
		Shop: "mugs", CustomerID: "ada", Reference: fmt.Sprintf("R-%d", stacks.Add(1)), Currency: "EUR",
		PaymentToken: "tok_visa", TotalMinor: 1250,
		Lines: []coordinatorapi.OrderLine{{Sku: "SKU-MUG", Quantity: 1, UnitPriceMinor: 1250}},
		ShipTo: coordinatorapi.Address{
			Name: "Ada Lovelace", Lines: []string{"Unter den Linden 1"}, City: "Berlin", PostalCode: &zip, Country: "DE", Email: &mail,
		},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// submit places an order and returns its id.
func (p *platform) submit(o coordinatorapi.NewOrder) string {
	p.t.Helper()
	var receipt coordinatorapi.OrderReceipt
	p.must(http.MethodPost, p.system.Coordinator+"/v1/orders", o.Reference, o, &receipt)
	return receipt.ID.String()
}

// cancel asks for a cancellation and returns the answer, or the problem's code.
func (p *platform) cancel(id string) string {
	p.t.Helper()
	var answer struct{ Answer, Code string }
	status, data := p.call(http.MethodPost, p.system.Coordinator+"/v1/orders/"+id+"/cancel", "", map[string]any{})
	require.Less(p.t, status, 500, "%s", data)
	require.NoError(p.t, json.Unmarshal(data, &answer))
	return answer.Answer + answer.Code
}

// until waits for an order to meet a condition.
func (p *platform) until(id, what string, ok func(o coordinatorapi.Order) bool) coordinatorapi.Order {
	p.t.Helper()
	var o coordinatorapi.Order
	for deadline := time.Now().Add(p.patience); time.Now().Before(deadline); {
		status, data := p.call(http.MethodGet, p.system.Coordinator+"/v1/orders/"+id, "", nil)
		// After an outage a request may still meet a connection that died in it, and is asked to come again.
		if status != http.StatusServiceUnavailable {
			require.Equal(p.t, http.StatusOK, status, "%s", data)
			o = coordinatorapi.Order{} // a field that is gone, like a deadline that has passed, must not stay from the answer before
			require.NoError(p.t, json.Unmarshal(data, &o))
			if ok(o) {
				return o
			}
		}
		<-time.After(40 * time.Millisecond)
	}
	require.FailNow(p.t, "waited for "+p.patience.String(), "order %s: %s; it is %s: %s %+v", id, what, o.Status, o.Explanation.Summary, o.Attention)
	return o
}

func ended(o coordinatorapi.Order) bool { return o.EndedAt != nil }

// addsUp audits the whole system; nothing may be open.
func (p *platform) addsUp(orders int) *audit.Report {
	p.t.Helper()
	r, err := audit.Conservation(p.t.Context(), p.system)
	require.NoError(p.t, err)
	require.Empty(p.t, r.Findings())
	require.Zero(p.t, r.Open, "%+v", r.ByStatus)
	require.Equal(p.t, orders, r.Orders)
	return r
}

func (p *platform) must(method, url, key string, body, into any) {
	p.t.Helper()
	status, data := p.call(method, url, key, body)
	require.Less(p.t, status, 300, "%s %s: %s", method, url, data)
	if into != nil {
		require.NoError(p.t, json.Unmarshal(data, into), "%s", data)
	}
}

func (p *platform) call(method, url, key string, body any) (int, []byte) {
	p.t.Helper()
	answer, err := p.ask(method, url, key, body)
	require.NoError(p.t, err)
	return answer.status, answer.body
}

// answer is what came back, whatever it says.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask is call for a server that may be away, and for goroutines that must not end the test.
func (p *platform) ask(method, url, key string, body any) (answer, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, bytes.NewReader(data))
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text}, err
}

// place submits an order once and says what came of it.
func (p *platform) place(key string, o coordinatorapi.NewOrder) receipt {
	a, err := p.ask(http.MethodPost, p.system.Coordinator+"/v1/orders", key, o)
	r := receipt{status: a.status, body: a.body, err: err}
	if err == nil && a.status == http.StatusAccepted {
		var accepted coordinatorapi.OrderReceipt
		r.err = json.Unmarshal(a.body, &accepted)
		r.id = accepted.ID.String()
	}
	return r
}

// outcome is an order's end in words: its status and, when it is not completed, why.
func outcome(o coordinatorapi.Order) string {
	switch {
	case o.Cause == nil:
		return string(o.Status)
	case o.Cause.Kind == "refused" && o.Cause.Detail != nil:
		return string(o.Status) + " " + *o.Cause.Detail
	}
	return string(o.Status) + " " + string(o.Cause.Kind)
}

// nothingParked: no service has a dead letter.
func (p *platform) nothingParked() {
	p.t.Helper()
	for _, name := range []string{stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification} {
		require.Empty(p.t, p.letters(name), name)
	}
}

// letters are a service's dead letters.
func (p *platform) letters(name string) []coordinatorapi.DeadLetter {
	p.t.Helper()
	var page coordinatorapi.DeadLetterPage
	p.must(http.MethodGet, p.URL(name)+"/v1/dead-letters", "", nil, &page)
	return page.DeadLetters
}
