package payment_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/payment"
)

// fault is what goes wrong with one request to the provider.
type fault string

const (
	// dropAfter does it and closes the connection without a word.
	dropAfter fault = "drop_after"
	// dropBefore closes the connection and does nothing.
	dropBefore fault = "drop_before"
	// error500 does it, answers 500, and says 500 again to whoever repeats the key.
	error500 fault = "error_500"
	// unauthorized answers 401 and does nothing.
	unauthorized fault = "unauthorized"
	// busy answers 429 and does nothing.
	busy fault = "busy"
	// late keeps the caller waiting and does it only when the test says so, even if the caller has left.
	late fault = "late"
	// nonsense does it and answers 200 with something that is no intent.
	nonsense fault = "nonsense"
	// lessMoney does it over one minor unit less.
	lessMoney fault = "less_money"
	// declines answers 402.
	declines fault = "declines"
	// expires answers that the authorization has run out, and cancels the intent.
	expires fault = "expires"
	// wantsCustomer leaves the intent waiting for the customer.
	wantsCustomer fault = "wants_customer"
	// refuses answers 400 and does nothing.
	refuses fault = "refuses"
)

// movement is one line of the provider's own ledger.
type movement struct {
	kind   string
	intent string
	order  string
	amount int64
}

// provider is the outside world: a payment provider with state, a ledger, idempotency keys and faults. It follows the
// API that gatewaysim documents.
type provider struct {
	server *httptest.Server

	mu      sync.Mutex
	intents []*providerIntent
	saved   map[string]savedAnswer
	inUse   map[string]bool
	faults  map[payment.Call][]fault
	ledger  []movement
	keys    map[payment.Call]map[string]bool
	outage  bool
	release chan struct{}
	// waiting tells the test of each request that is late.
	waiting chan struct{}
}

type providerIntent struct {
	ID                 string            `json:"id"`
	Amount             int64             `json:"amount"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	Currency           string            `json:"currency"`
	Status             string            `json:"status"`
	PaymentMethod      string            `json:"payment_method"`
	Metadata           map[string]string `json:"metadata"`
	LatestCharge       *string           `json:"latest_charge"`
	CaptureBefore      *int64            `json:"capture_before"`
	CancellationReason *string           `json:"cancellation_reason"`
	LastPaymentError   map[string]string `json:"last_payment_error"`
}

type savedAnswer struct {
	status  int
	body    []byte
	request string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{
		saved: make(map[string]savedAnswer), inUse: make(map[string]bool), faults: make(map[payment.Call][]fault),
		keys: make(map[payment.Call]map[string]bool), release: make(chan struct{}),
		waiting: make(chan struct{}, 100),
	}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.releaseLate()
		p.server.Close()
	})
	return p
}

// gateway is the adapter under test, pointed at this provider.
func (p *provider) gateway(t *testing.T, timeout time.Duration) *payment.HTTPGateway {
	t.Helper()
	gateway, err := payment.NewHTTPGateway(payment.HTTPGatewayConfig{
		URL: p.server.URL, Key: "sk_test", Timeout: timeout, MaxConns: 16,
	})
	require.NoError(t, err)
	t.Cleanup(gateway.Close)
	return gateway
}

// next makes the next requests of a call go wrong, one fault each.
func (p *provider) next(call payment.Call, faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[call] = append(p.faults[call], faults...)
}

func (p *provider) setOutage(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage = on
}

// releaseLate lets everything that is late happen now.
func (p *provider) releaseLate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.release)
	p.release = make(chan struct{})
}

// count is how often something of a kind has happened.
func (p *provider) count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range p.ledger {
		if m.kind == kind {
			n++
		}
	}
	return n
}

// held is how many intents hold money that is neither charged nor given back.
func (p *provider) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, i := range p.intents {
		if i.Status == "requires_capture" {
			n++
		}
	}
	return n
}

// forgetKeys is what the provider does after a day.
func (p *provider) forgetKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.saved)
}

// keysOf is how many different idempotency keys the requests of a call had.
func (p *provider) keysOf(call payment.Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys[call])
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	call, id := route(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	var strikes fault
	if queue := p.faults[call]; len(queue) > 0 {
		strikes, p.faults[call] = queue[0], queue[1:]
	}
	switch {
	case p.outage, strikes == dropBefore:
		panic(http.ErrAbortHandler)
	case strikes == unauthorized || r.Header.Get("Authorization") != "Bearer sk_test":
		writeAnswer(w, 401, problem("invalid_request_error", "api_key_invalid", nil))
		return
	case strikes == busy:
		writeAnswer(w, 429, problem("api_error", "rate_limit", nil))
		return
	case r.Method == http.MethodGet:
		status, answer := p.read(call, id, r)
		writeAnswer(w, status, answer)
		return
	}
	key, request := r.Header.Get("Idempotency-Key"), fmt.Sprint(r.URL.Path, body)
	if p.keys[call] == nil {
		p.keys[call] = make(map[string]bool)
	}
	p.keys[call][key] = true
	if saved, ok := p.saved[key]; ok {
		if saved.request != request {
			writeAnswer(w, 400, problem("idempotency_error", "idempotency_key_reused", nil))
			return
		}
		writeBytes(w, saved.status, saved.body)
		return
	}
	if p.inUse[key] {
		writeAnswer(w, 409, problem("idempotency_error", "idempotency_key_in_use", nil))
		return
	}
	if strikes == late {
		released := p.release
		p.inUse[key] = true
		p.waiting <- struct{}{}
		p.mu.Unlock()
		<-released
		p.mu.Lock()
		delete(p.inUse, key)
	}
	status, answer := p.change(call, id, body, strikes)
	if strikes == error500 {
		status, answer = 500, problem("api_error", "api_error", nil)
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	p.saved[key] = savedAnswer{status, encoded, request}
	switch strikes {
	case dropAfter:
		panic(http.ErrAbortHandler)
	case nonsense:
		encoded = []byte(`<html>`)
	default:
	}
	writeBytes(w, status, encoded)
}

func route(r *http.Request) (call payment.Call, id string) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/payment_intents"), "/")
	switch {
	case r.Method == http.MethodPost && len(parts) == 1:
		return payment.CallCreate, ""
	case r.Method == http.MethodPost:
		return payment.Call(parts[2]), parts[1]
	case len(parts) == 1:
		return payment.CallList, ""
	}
	return payment.CallGet, parts[1]
}

func (p *provider) find(id string) *providerIntent {
	for _, i := range p.intents {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (p *provider) read(call payment.Call, id string, r *http.Request) (int, any) {
	if call == payment.CallGet {
		if intent := p.find(id); intent != nil {
			return 200, intent
		}
		return 404, problem("invalid_request_error", "resource_missing", nil)
	}
	found := []*providerIntent{}
	for _, i := range p.intents {
		if i.Metadata["order_id"] == r.URL.Query().Get("order_id") {
			found = append(found, i)
		}
	}
	return 200, map[string]any{"object": "list", "data": found}
}

// change does what a request asks for; the caller holds mu.
func (p *provider) change(call payment.Call, id string, body map[string]any, strikes fault) (int, any) {
	if strikes == refuses {
		return 400, problem("invalid_request_error", "parameter_invalid", nil)
	}
	if call == payment.CallCreate {
		return p.create(body)
	}
	i := p.find(id)
	if i == nil {
		return 404, problem("invalid_request_error", "resource_missing", nil)
	}
	wanted := map[payment.Call]string{
		payment.CallConfirm: "requires_confirmation", payment.CallCapture: "requires_capture",
	}[call]
	if call == payment.CallCancel && i.Status != "succeeded" && i.Status != "canceled" {
		wanted = i.Status
	}
	if strikes == expires {
		p.cancel(i, "automatic", "expire")
		return 400, problem("invalid_request_error", "charge_expired_for_capture", i)
	}
	if i.Status != wanted {
		return 400, problem("invalid_request_error", "payment_intent_unexpected_state", i)
	}
	if strikes == declines || strings.HasPrefix(i.PaymentMethod, "tok_declined") && call == payment.CallConfirm {
		if call == payment.CallConfirm {
			i.Status = "requires_payment_method"
			i.LastPaymentError = map[string]string{
				"type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
			}
		}
		answer := problem("card_error", "card_declined", i)
		answer["error"].(map[string]any)["decline_code"] = "generic_decline"
		return 402, answer
	}
	switch call {
	case payment.CallConfirm:
		if strikes == wantsCustomer {
			i.Status = "requires_action"
			break
		}
		charge, before := "ch_"+i.ID, time.Now().Add(7*24*time.Hour).Unix()
		i.Status, i.AmountCapturable, i.LatestCharge, i.CaptureBefore = "requires_capture", i.Amount, &charge, &before
		if strikes == lessMoney {
			i.AmountCapturable--
		}
		p.book("authorize", i, i.AmountCapturable)
	case payment.CallCapture:
		i.Status, i.AmountCapturable, i.AmountReceived = "succeeded", 0, int64(body["amount_to_capture"].(float64))
		p.book("capture", i, i.AmountReceived)
	case payment.CallCancel:
		p.cancel(i, "abandoned", "void")
	case payment.CallCreate, payment.CallGet, payment.CallList:
	}
	return 200, i
}

func (p *provider) create(body map[string]any) (int, any) {
	token, _ := body["payment_method"].(string)
	if strings.HasPrefix(token, "tok_unknown") {
		answer := problem("invalid_request_error", "resource_missing", nil)
		answer["error"].(map[string]any)["param"] = "payment_method"
		return 400, answer
	}
	i := &providerIntent{
		ID: fmt.Sprintf("pi_%d", len(p.intents)+1), Amount: int64(body["amount"].(float64)),
		Currency: body["currency"].(string), Status: "requires_confirmation", PaymentMethod: token,
		Metadata: map[string]string{},
	}
	for name, value := range body["metadata"].(map[string]any) {
		i.Metadata[name] = value.(string)
	}
	p.intents = append(p.intents, i)
	return 200, i
}

func (p *provider) cancel(i *providerIntent, reason, kind string) {
	if i.AmountCapturable > 0 {
		p.book(kind, i, i.AmountCapturable)
	}
	i.Status, i.AmountCapturable, i.CancellationReason = "canceled", 0, &reason
}

func (p *provider) book(kind string, i *providerIntent, amount int64) {
	p.ledger = append(p.ledger, movement{kind, i.ID, i.Metadata["order_id"], amount})
}

func problem(kind, code string, intent *providerIntent) map[string]any {
	e := map[string]any{"type": kind, "code": code, "message": "no"}
	if intent != nil {
		e["payment_intent"] = intent
	}
	return map[string]any{"error": e}
}

func writeAnswer(w http.ResponseWriter, status int, answer any) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	writeBytes(w, status, encoded)
}

func writeBytes(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_1")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
