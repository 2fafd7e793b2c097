package coordinator_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

func TestSubmit_one_key_is_one_order(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	nodes := []*node{s.start(t), s.start(t)}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		ids   = map[uuid.UUID]int{}
		fresh int
	)
	for i := range 100 {
		wg.Go(func() {
			a := nodes[i%2].call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "same"})
			mu.Lock()
			defer mu.Unlock()
			if a.Status != http.StatusAccepted {
				t.Errorf("status %d: %s", a.Status, a.Body)
				return
			}
			var r coordinatorapi.OrderReceipt
			a.into(t, &r)
			ids[r.ID]++
			if a.Header.Get("Idempotent-Replayed") == "" {
				fresh++
			}
		})
	}
	wg.Wait()
	require.Len(t, ids, 1)
	require.Equal(t, 1, fresh)
	var page coordinatorapi.OrderPage
	nodes[0].call("GET", "/v1/orders", nil, nil).into(t, &page)
	require.Len(t, page.Orders, 1)
}

func TestSubmit_idempotency(t *testing.T) {
	t.Parallel()
	n := newSystem(t, quiet).start(t)
	first := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": `"quoted-1"`})
	require.Equal(t, http.StatusAccepted, first.Status)
	again := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "quoted-1"})
	require.Equal(t, first.Status, again.Status)
	require.Equal(t, string(first.Body), string(again.Body))
	require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	other := n.call("POST", "/v1/orders", newOrder(map[string]any{"reference": "1002"}), headers{"Idempotency-Key": "quoted-1"})
	require.Equal(t, http.StatusUnprocessableEntity, other.Status)
	require.Equal(t, "idempotency_key_reused", other.code(t))
	shop := n.call("POST", "/v1/orders", newOrder(map[string]any{"shop": "other"}), headers{"Idempotency-Key": "quoted-1"})
	require.Equal(t, "idempotency_key_reused", shop.code(t), "keys are those of all shops, as the API says")
}

func TestSubmit_waits_for_the_end(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "w", "Prefer": "respond-async, wait=30"})
	require.Equal(t, http.StatusOK, a.Status, string(a.Body))
	var o coordinatorapi.Order
	a.into(t, &o)
	require.Equal(t, "completed", string(o.Status))
	require.Equal(t, "/v1/orders/"+o.ID.String(), a.Header.Get("Location"))

	s.world.answer(mute("reserve_stock/do"))
	a = n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "w2", "Prefer": "wait=1"})
	require.Equal(t, http.StatusAccepted, a.Status, "it does not wait longer than asked for")
}

// A worker that is down must not turn requests that wait for it into a closed door for all others.
func TestSubmit_does_not_wait_when_too_many_do(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	s.world.answer(mute("reserve_stock/do"))
	n := s.start(t)
	// Repeats of one order: they wait as others do, are less work, and leave their places at the door to new ones.
	first := n.submit("w", newOrder())
	h := headers{"Idempotency-Key": "w", "Prefer": "wait=60"}
	statuses := make(chan int, coordinator.MaxWaits)
	for range coordinator.MaxWaits {
		go func() { statuses <- n.call("POST", "/v1/orders", newOrder(), h).Status }()
	}
	require.Eventually(t, func() bool { return metric(n, "awaited_ends") == coordinator.MaxWaits }, waitFor, tick)

	began := time.Now()
	a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "w2", "Prefer": "wait=60"})
	require.Equal(t, http.StatusAccepted, a.Status, "it is taken, and answered at once")
	require.Less(t, time.Since(began), waitFor)
	var receipt coordinatorapi.OrderReceipt
	a.into(t, &receipt)
	require.Equal(t, "accepted", string(n.order(receipt.ID).Status))
	cancelled := n.call("POST", "/v1/orders/"+receipt.ID.String()+"/cancel", nil, nil)
	require.Equal(t, http.StatusAccepted, cancelled.Status, string(cancelled.Body))

	s.world.answer(nil)
	c := s.world.first(first.ID, "reserve_stock/do")
	s.world.send(c, success(c))
	for range coordinator.MaxWaits {
		require.Equal(t, http.StatusOK, <-statuses)
	}
	require.Eventually(t, func() bool { return metric(n, "awaited_ends") == 0 }, waitFor, tick)
	a = n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "w3", "Prefer": "wait=30"})
	require.Equal(t, http.StatusOK, a.Status, "the places are free again")
}

func TestSubmit_waits_for_another_coordinator(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	nodes := []*node{s.start(t), s.start(t)}
	for i, n := range nodes {
		a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": fmt.Sprint("w", i), "Prefer": "wait=30"})
		require.Equal(t, http.StatusOK, a.Status, string(a.Body))
	}
}

func TestSubmit_refuses(t *testing.T) {
	t.Parallel()
	n := newSystem(t, quiet).start(t)
	address := func(changes map[string]any) map[string]any {
		to := newOrder()["ship_to"].(map[string]any)
		for name, value := range changes {
			to[name] = value
		}
		return map[string]any{"ship_to": to}
	}
	line := func(sku string, quantity, price any) []any {
		return []any{map[string]any{"sku": sku, "quantity": quantity, "unit_price_minor": price}}
	}
	many := make([]any, 101)
	for i := range many {
		many[i] = line("SKU-1", 1, 1)[0]
	}
	tests := []struct {
		name    string
		change  map[string]any
		status  int
		code    string
		pointer string
	}{
		{"total", map[string]any{"total_minor": 2991}, 422, "totals_mismatch", "/total_minor"},
		{"currency", map[string]any{"currency": "EUX"}, 422, "currency_unknown", "/currency"},
		{
			"nothing to pay",
			map[string]any{"lines": line("SKU-1", 1, 0), "shipping_minor": 0, "total_minor": 0},
			422,
			"validation_failed", "/total_minor",
		},
		{"no lines", map[string]any{"lines": []any{}}, 422, "validation_failed", "/lines"},
		{"too many lines", map[string]any{"lines": many}, 422, "validation_failed", "/lines"},
		{"lower-case sku", map[string]any{"lines": line("sku", 1, 1)}, 422, "validation_failed", "/lines/0/sku"},
		{"quantity 0", map[string]any{"lines": line("SKU-1", 0, 1)}, 422, "validation_failed", "/lines/0/quantity"},
		{"quantity too large", map[string]any{"lines": line("SKU-1", 1_000_001, 1)}, 422, "validation_failed", "/lines/0/quantity"},
		{"quantity no number", map[string]any{"lines": line("SKU-1", "1", 1)}, 422, "validation_failed", "/lines/0/quantity"},
		{"price negative", map[string]any{"lines": line("SKU-1", 1, -1)}, 422, "validation_failed", "/lines/0/unit_price_minor"},
		{
			"overflow",
			map[string]any{"lines": line("SKU-1", 1_000_000, 9_007_199_254_740_991)},
			422, "validation_failed",
			"/lines/0/unit_price_minor",
		},
		{"country", address(map[string]any{"country": "XX"}), 422, "validation_failed", "/ship_to/country"},
		{"e-mail", address(map[string]any{"email": "nobody"}), 422, "validation_failed", "/ship_to/email"},
		{"no e-mail", address(map[string]any{"email": ""}), 422, "validation_failed", "/ship_to/email"},
		{"control character", map[string]any{"reference": "a\nb"}, 422, "validation_failed", "/reference"},
		{"card number", map[string]any{"payment_token": "4111 1111-1111 1111"}, 422, "validation_failed", "/payment_token"},
		{"long token", map[string]any{"payment_token": strings.Repeat("x", 256)}, 422, "validation_failed", "/payment_token"},
		{"no shop", map[string]any{"shop": nil}, 422, "validation_failed", "/shop"},
		{"unknown member", map[string]any{"colour": "blue"}, 422, "validation_failed", "/colour"},
		{"deadline", map[string]any{"deadline_seconds": 86401}, 422, "validation_failed", "/deadline_seconds"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := n.call("POST", "/v1/orders", newOrder(tt.change), headers{"Idempotency-Key": fmt.Sprint("bad", i)})
			require.Equal(t, tt.status, a.Status, string(a.Body))
			require.Equal(t, tt.code, a.code(t), string(a.Body))
			var p coordinatorapi.Problem
			a.into(t, &p)
			require.NotNil(t, p.Errors, string(a.Body))
			require.Equal(t, tt.pointer, (*p.Errors)[0].Pointer, string(a.Body))
			require.NotContains(t, string(a.Body), "4111")
		})
	}
	var page coordinatorapi.OrderPage
	n.call("GET", "/v1/orders", nil, nil).into(t, &page)
	require.Empty(t, page.Orders)
}

func TestRequest_problems(t *testing.T) {
	t.Parallel()
	n := newSystem(t, quiet).start(t)
	id := uuid.Must(uuid.NewV7()).String()
	key := headers{"Idempotency-Key": "k"}
	tests := []struct {
		name, method, path string
		body               any
		headers            headers
		status             int
		code               string
	}{
		{"no key", "POST", "/v1/orders", newOrder(), nil, 400, "idempotency_key_missing"},
		{"empty key", "POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": `""`}, 400, "idempotency_key_missing"},
		{"no JSON", "POST", "/v1/orders", "{", key, 400, "malformed_json"},
		{"no body", "POST", "/v1/orders", nil, key, 400, "malformed_json"},
		{"too large", "POST", "/v1/orders", `{"shop":"` + strings.Repeat("x", 65<<10) + `"}`, key, 413, "body_too_large"},
		{
			"no JSON type", "POST", "/v1/orders", newOrder(),
			headers{"Idempotency-Key": "k", "Content-Type": "text/plain"},
			415,
			"unsupported_media_type",
		},
		{"wait", "POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "k", "Prefer": "wait=soon"}, 422, "validation_failed"},
		{"no such order", "GET", "/v1/orders/" + id, nil, nil, 404, "order_not_found"},
		{"no id", "GET", "/v1/orders/1", nil, nil, 422, "validation_failed"},
		{"no such saga", "GET", "/v1/sagas/" + id, nil, nil, 404, "saga_not_found"},
		{"no such history", "GET", "/v1/sagas/" + id + "/history", nil, nil, 404, "saga_not_found"},
		{"no such events", "GET", "/v1/orders/" + id + "/events", nil, nil, 404, "order_not_found"},
		{"cancel nothing", "POST", "/v1/orders/" + id + "/cancel", nil, nil, 404, "order_not_found"},
		{
			"act on nothing", "POST", "/v1/sagas/" + id + "/actions",
			map[string]any{"type": "pause", "reason": "x"},
			nil, 404,
			"saga_not_found",
		},
		{"no reason", "POST", "/v1/sagas/" + id + "/actions", map[string]any{"type": "pause"}, nil, 422, "validation_failed"},
		{
			"no such verb", "POST", "/v1/sagas/" + id + "/actions",
			map[string]any{"type": "explode", "reason": "x"},
			nil, 422,
			"validation_failed",
		},
		{"limit", "GET", "/v1/orders?limit=201", nil, nil, 422, "validation_failed"},
		{"status", "GET", "/v1/orders?status=fine", nil, nil, 422, "validation_failed"},
		{"cursor", "GET", "/v1/orders?cursor=abc", nil, nil, 400, "cursor_invalid"},
		{"time", "GET", "/v1/orders?created_after=yesterday", nil, nil, 422, "validation_failed"},
		{"letter cursor", "GET", "/v1/dead-letters?cursor=abc", nil, nil, 400, "cursor_invalid"},
		{"no such letter", "POST", "/v1/dead-letters/" + id + "/redrive", nil, nil, 404, "dead_letter_not_found"},
		{"no such page", "GET", "/v2/orders", nil, nil, 404, "not_found"},
		{"method", "DELETE", "/v1/orders", nil, nil, 405, "method_not_allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := n.call(tt.method, tt.path, tt.body, tt.headers)
			require.Equal(t, tt.status, a.Status, string(a.Body))
			require.Equal(t, tt.code, a.code(t))
		})
	}
}
