package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/audit"
	main "recourse.dev/services/standalone"
)

// live is a platform that runs, by the addresses that it prints.
type live struct {
	t     *testing.T
	parts map[string]string
}

var partLine = regexp.MustCompile(`(?m)^  (coordinator|inventory|payment|shipping|card gateway|carrier) +(http://\S+)`)

// startLive runs the command dev until the test ends.
func startLive(t *testing.T) *live {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var stdout, stderr screen
	var done sync.WaitGroup
	done.Go(func() { main.Run(ctx, []string{"dev", "--random-ports", "--ephemeral"}, &stdout, &stderr) })
	t.Cleanup(func() {
		cancel()
		done.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	require.Eventually(t, func() bool { return stdout.coordinator() != "" }, 2*time.Minute, 5*time.Millisecond)
	l := &live{t: t, parts: map[string]string{}}
	stdout.mu.Lock()
	defer stdout.mu.Unlock()
	for _, m := range partLine.FindAllStringSubmatch(stdout.text.String(), -1) {
		l.parts[m[1]] = m[2]
	}
	require.Len(t, l.parts, 6)
	return l
}

func (l *live) post(where, key, prefer, body string, into any) {
	l.t.Helper()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, where, strings.NewReader(body))
	require.NoError(l.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	request.Header.Set("Prefer", prefer)
	response, err := http.DefaultClient.Do(request)
	require.NoError(l.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(l.t, err)
	require.Less(l.t, response.StatusCode, 300, "%s: %s", where, answer)
	require.NoError(l.t, json.Unmarshal(answer, into))
}

// order places an order and returns its id; with a wait it returns when the order has ended.
func (l *live) order(token, wait string) string {
	l.t.Helper()
	key := uuid.NewString()
	var order struct{ ID, Status string }
	l.post(l.parts["coordinator"]+"/v1/orders", key, wait, fmt.Sprintf(
		`{"shop":"mugs","customer_id":"ada","reference":%q,"currency":"EUR","payment_token":%q,
		"lines":[{"sku":"SKU-MUG-BLUE","quantity":2,"unit_price_minor":1250}],"total_minor":2500,
		"ship_to":{"name":"Ada Lovelace","lines":["Unter den Linden 1"],"city":"Berlin","postal_code":"10117",
		"country":"DE","email":"ada@example.com"}}`, key, token), &order)
	if wait != "" {
		require.Contains(l.t, []string{"completed", "cancelled"}, order.Status)
	}
	return order.ID
}

// charge charges a card at the gateway behind the platform's back.
func (l *live) charge(order string) {
	l.t.Helper()
	var intent struct{ ID string }
	at := l.parts["card gateway"] + "/v1/payment_intents"
	l.post(at, uuid.NewString(), "", fmt.Sprintf(
		`{"amount":777,"currency":"EUR","payment_method":"tok_visa","metadata":{"order_id":%q}}`, order), &intent)
	l.post(at+"/"+intent.ID+"/confirm", uuid.NewString(), "", "{}", &intent)
	l.post(at+"/"+intent.ID+"/capture", uuid.NewString(), "", "{}", &intent)
}

// answer is what the command said.
type answer struct {
	status int
	said   string
}

func (a answer) report(t *testing.T) audit.Report {
	t.Helper()
	var r audit.Report
	require.NoError(t, json.Unmarshal([]byte(a.said), &r), a.said)
	return r
}

// audit runs the command.
func (l *live) audit(flags ...string) answer {
	args := []string{
		"audit", "conservation", "--server", l.parts["coordinator"], "--inventory", l.parts["inventory"],
		"--payment", l.parts["payment"], "--shipping", l.parts["shipping"],
	}
	var stdout, stderr bytes.Buffer
	status := main.Run(l.t.Context(), append(args, flags...), &stdout, &stderr)
	return answer{status, stdout.String() + stderr.String()}
}

// The audit runs beside orders in flight, finds nothing where nothing is wrong, and names the order where something is.
func TestAudit_of_a_live_platform(t *testing.T) {
	t.Parallel()
	l := startLive(t)
	var charged string
	for _, token := range []string{"tok_visa", "tok_declined", "tok_visa"} {
		charged = l.order(token, "wait=30")
	}
	for range 5 {
		l.order("tok_unknown_long", "") // stays open until the gateway tells what became of it
	}
	ledgers := []string{"--gateway", l.parts["card gateway"], "--carrier", l.parts["carrier"]}

	// A shop that does not close for the audit.
	answers := make(chan answer)
	go func() {
		defer close(answers)
		for range 5 {
			answers <- l.audit(append(ledgers, "--json")...)
		}
	}()
	open := 0
	for more := true; more; {
		select {
		case a, ok := <-answers:
			if more = ok; !ok {
				break
			}
			require.Zero(t, a.status, a.said)
			report := a.report(t)
			require.GreaterOrEqual(t, report.ByStatus["completed"], 2)
			require.Empty(t, report.NotCompared)
			open += report.Open
		default:
			l.order("tok_visa", "")
		}
	}
	require.GreaterOrEqual(t, open, 5)

	// Without simulators there is less to compare, and that is said.
	a := l.audit()
	require.Zero(t, a.status, a.said)
	require.Contains(t, a.said, "not compared: the gateway's own ledger")
	require.Contains(t, a.said, "everything adds up")

	// What the platform does not know of is found, and the order behind it named: one of ours, and one of nobody's.
	stranger := uuid.Must(uuid.NewV7()).String()
	l.charge(charged)
	l.charge(stranger)
	a = l.audit(append(ledgers, "--json", "--since", "1h")...)
	require.Equal(t, 1, a.status, a.said)
	report := a.report(t)
	require.NotNil(t, report.Since)
	of := map[string]int{}
	for _, f := range report.Findings() {
		of[f.Order]++
	}
	require.Len(t, of, 2, a.said)
	require.Contains(t, of, charged, a.said)
	require.Contains(t, of, stranger, a.said)
	a = l.audit(ledgers...)
	require.Equal(t, 1, a.status, a.said)
	require.Contains(t, a.said, "DIFFERENCE: "+charged+" completed order: captured 2 times")
	require.Contains(t, a.said, "DIFFERENCE: "+stranger+" EUR: the gateway charged 777 for an order that the coordinator does not have")

	// A ledger that is named and does not answer is not left out quietly.
	a = l.audit("--gateway", "http://127.0.0.1:1")
	require.Equal(t, 1, a.status)
	require.Contains(t, a.said, "no card gateway simulator answers")
}
