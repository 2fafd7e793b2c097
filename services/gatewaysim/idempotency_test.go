package gatewaysim_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/gatewaysim"
)

// clock is a hand-moved clock.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock {
	return &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestIdempotency_same_key_same_answer(t *testing.T) {
	t.Parallel()

	clock := newClock()
	g := start(t, gatewaysim.Config{Now: clock.now})
	body := map[string]any{"amount": 5, "currency": "eur", "payment_method": "tok_declined"}
	first := g.must("POST", "/v1/payment_intents", "key", body)
	require.False(t, first.replayed)
	again := g.must("POST", "/v1/payment_intents", "key", body)
	require.True(t, again.replayed)
	require.Equal(t, first.body, again.body, "byte for byte")

	id := first.fields["id"].(string)
	refused := g.mustPost(id, "confirm", "key-2")
	require.Equal(t, http.StatusPaymentRequired, refused.status)
	again = g.mustPost(id, "confirm", "key-2")
	require.True(t, again.replayed, "a refusal is an answer too")
	require.Equal(t, refused.body, again.body)
	require.Equal(t, refused.status, again.status)

	body["amount"] = 6
	other := g.must("POST", "/v1/payment_intents", "key", body)
	require.Equal(t, http.StatusBadRequest, other.status)
	require.Equal(t, "idempotency_error", other.errorField("type"))
	require.Equal(t, "idempotency_key_reused", other.errorField("code"))
	other = g.mustPost(id, "cancel", "key-2")
	require.Equal(t, "idempotency_key_reused", other.errorField("code"), "another path is another request")

	clock.advance(24 * time.Hour)
	other = g.must("POST", "/v1/payment_intents", "key", body)
	require.Equal(t, http.StatusOK, other.status, "the key was forgotten after its time")
}

func TestIdempotency_bad_parameters_are_not_saved(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	r := g.must("POST", "/v1/payment_intents", "key", map[string]any{"amount": 5})
	require.Equal(t, http.StatusBadRequest, r.status)
	r = g.must("POST", "/v1/payment_intents", "key", map[string]any{"amount": 5, "currency": "eur"})
	require.Equal(t, http.StatusOK, r.status)
	r = g.mustPost("pi_none", "confirm", strings.Repeat("k", 256))
	require.Equal(t, "Idempotency-Key", r.errorField("param"))
}

func TestIdempotency_same_key_at_once(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	statuses := make([]int, 50)
	fresh := make([]bool, len(statuses))
	wait := sync.WaitGroup{}
	for i := range statuses {
		wait.Go(func() {
			r, err := g.post(id, "confirm", "the-key")
			if assert.NoError(t, err) {
				statuses[i], fresh[i] = r.status, r.status == http.StatusOK && !r.replayed
			}
		})
	}
	wait.Wait()
	done := 0
	for i, status := range statuses {
		require.Contains(t, []int{http.StatusOK, http.StatusConflict}, status)
		if fresh[i] {
			done++
		}
	}
	require.Equal(t, 1, done)
	require.Equal(t, []gatewaysim.EntryKind{"authorize"}, g.kinds())
}

func TestIdempotency_different_keys_at_once(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	g.mustPost(id, "confirm", "")
	wait := sync.WaitGroup{}
	for i := range 40 {
		wait.Go(func() {
			verb := []string{"capture", "cancel"}[i%2]
			_, err := g.post(id, verb, fmt.Sprintf("key-%d", i))
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	require.Len(t, g.Ledger(), 2, "one of capture and cancel won, once")
	require.Zero(t, g.Totals().Of("EUR").Held)
}

// TestIdempotency_in_progress also shows the fence: an intent that was canceled while a confirm was on its way is not
// authorized when the confirm arrives at last.
func TestIdempotency_in_progress(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{LateDelay: time.Hour})
	id := g.create("tok_late_effect")
	answers := make(chan response, 2)
	for range 2 {
		go func() {
			r, err := g.post(id, "confirm", "key")
			assert.NoError(t, err)
			answers <- r
		}()
	}
	busy := <-answers // the other one hangs
	require.Equal(t, http.StatusConflict, busy.status)
	require.Equal(t, "idempotency_key_in_use", busy.errorField("code"))
	require.Equal(t, "requires_confirmation", g.status(id))
	require.Equal(t, "canceled", g.mustPost(id, "cancel", "key-cancel").fields["status"])

	g.stop() // ends the wait, then the request in hand is finished
	late := <-answers
	require.Equal(t, "payment_intent_unexpected_state", late.errorField("code"))
	require.Empty(t, g.Ledger())
}
