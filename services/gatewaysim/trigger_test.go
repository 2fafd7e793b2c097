package gatewaysim_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/gatewaysim"
)

// TestTrigger_every_token runs the whole way of a payment with every token, repeating each lost request once with
// its key, and compares what the caller saw with what happened.
func TestTrigger_every_token(t *testing.T) {
	t.Parallel()

	const (
		ok   = "ok"
		lost = "lost, then ok"
		no   = "card_declined"
	)
	// What confirm and capture (or cancel, or refund) came to, and the movements of money.
	cases := []struct {
		token, confirm, verb, then string
		kinds                      string
	}{
		{"tok_visa", ok, "capture", ok, "authorize capture"},
		{"tok_mastercard", ok, "cancel", ok, "authorize void"},
		{"tok_ok", ok, "refund", ok, "authorize capture refund"},
		{"tok_declined", no, "cancel", ok, ""},
		{"tok_insufficient_funds", no, "cancel", ok, ""},
		{"tok_authentication_required", "authentication_required", "cancel", ok, ""},
		{"tok_answer_lost", lost, "capture", ok, "authorize capture"},
		{"tok_answer_lost_1", lost, "cancel", ok, "authorize void"},
		{"tok_late_effect", ok, "capture", ok, "authorize capture"},
		{"tok_500_saved", "api_error", "capture", ok, "authorize capture"},
		{"tok_slow", ok, "capture", ok, "authorize capture"},
		{"tok_capture_answer_lost", ok, "capture", lost, "authorize capture"},
		{"tok_capture_late", ok, "capture", ok, "authorize capture"},
		{"tok_capture_500_saved", ok, "capture", "api_error", "authorize capture"},
		{"tok_capture_declined", ok, "capture", no, "authorize"},
		{"tok_auth_expires", ok, "capture", "charge_expired_for_capture", "authorize expire"},
		{"tok_auth_expires", ok, "cancel", ok, "authorize void"},
		{"tok_void_answer_lost", ok, "cancel", lost, "authorize void"},
		{"tok_void_late", ok, "cancel", ok, "authorize void"},
		{"tok_refund_answer_lost", ok, "refund", lost, "authorize capture refund"},
		{"tok_unknown_long", "lost, lost", "", "", "authorize"},
	}
	tested := map[string]bool{}
	for _, tc := range cases {
		tested[tc.token] = true
		t.Run(tc.token+"/"+tc.verb, func(t *testing.T) {
			t.Parallel()

			g := start(t, gatewaysim.Config{LateDelay: time.Millisecond, SlowDelay: time.Millisecond, UnknownFor: time.Hour})
			id := g.create(tc.token)
			require.Equal(t, tc.confirm, g.twice("/v1/payment_intents/"+id+"/confirm", nil))
			switch tc.verb {
			case "":
			case "refund":
				g.mustPost(id, "capture", "")
				require.Equal(t, tc.then, g.twice("/v1/refunds", map[string]any{"payment_intent": id}))
			default:
				require.Equal(t, tc.then, g.twice("/v1/payment_intents/"+id+"/"+tc.verb, nil))
			}
			kinds := []string{}
			for _, kind := range g.kinds() {
				kinds = append(kinds, string(kind))
			}
			require.Equal(t, tc.kinds, strings.Join(kinds, " "))
		})
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, trigger := range gatewaysim.Triggers() {
		require.True(t, tested[trigger.Token], "%s is not tested", trigger.Token)
		require.Contains(t, string(doc), trigger.Token, "not in doc.go")
	}
}

// twice sends a request, and once more with its key, and says what came of it.
func (g *gateway) twice(path string, body any) string {
	g.t.Helper()
	said := func(r response, err error) string {
		switch {
		case err != nil:
			return "lost"
		case r.status < http.StatusMultipleChoices:
			return "ok"
		default:
			return r.errorField("code").(string)
		}
	}
	first := said(g.do(g.t.Context(), "POST", path, "key "+path, body))
	r, err := g.do(g.t.Context(), "POST", path, "key "+path, body)
	second := said(r, err)
	require.True(g.t, err != nil || r.replayed, "the second answer is the saved one")
	switch {
	case first == second && first != "lost":
		return first
	case first == second:
		return "lost, lost"
	default:
		return first + ", then " + second
	}
}

func TestTrigger_answer_lost_n_loses_the_first_n(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_answer_lost_3")
	for range 3 {
		_, err := g.post(id, "confirm", "key")
		require.Error(t, err)
	}
	require.True(t, g.mustPost(id, "confirm", "key").replayed)
	require.Len(t, g.Ledger(), 1)
}

func TestTrigger_500_saved_is_replayed_and_only_get_tells(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_500_saved")
	first := g.mustPost(id, "confirm", "key")
	again := g.mustPost(id, "confirm", "key")
	require.Equal(t, []int{500, 500}, []int{first.status, again.status})
	require.True(t, again.replayed)
	require.Equal(t, "requires_capture", g.status(id))
	other := g.mustPost(id, "confirm", "other-key")
	require.Equal(t, "payment_intent_unexpected_state", other.errorField("code"))
}

func TestTrigger_late_effect_happens_after_the_caller_has_left(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{LateDelay: 50 * time.Millisecond})
	id := g.create("tok_late_effect")
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := g.do(impatient, "POST", "/v1/payment_intents/"+id+"/confirm", "key", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	g.eventually(id, "requires_capture")
	require.Len(t, g.Ledger(), 1)
}

func TestTrigger_slow_is_done_before_it_is_answered(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{SlowDelay: time.Hour})
	id := g.create("tok_slow")
	answered := make(chan int, 1)
	go func() {
		r, err := g.post(id, "confirm", "key")
		if err == nil {
			answered <- r.status
		}
		close(answered)
	}()
	g.eventually(id, "requires_capture")
	require.Empty(t, answered)
	g.stop()
	require.Equal(t, http.StatusOK, <-answered, "a server that stops finishes the request in hand")
}

func TestTrigger_unknown_long_hides_the_intent_for_a_while(t *testing.T) {
	t.Parallel()

	clock := newClock()
	g := start(t, gatewaysim.Config{UnknownFor: time.Minute, Now: clock.now})
	id := g.create("tok_unknown_long")
	_, err := g.post(id, "confirm", "key")
	require.Error(t, err)
	for _, path := range []string{"/v1/payment_intents/" + id, "/v1/payment_intents?order_id=order-1"} {
		_, err = g.do(t.Context(), "GET", path, "", nil)
		require.Error(t, err, path)
	}
	require.Len(t, g.Ledger(), 1)
	clock.advance(time.Minute)
	require.Equal(t, "requires_capture", g.status(id))
	require.True(t, g.mustPost(id, "confirm", "key").replayed)
}

// TestTrigger_a_lost_answer_is_lost_on_a_reused_connection guards against the transport's own repeat: it would send
// a request with an Idempotency-Key again and hide the fault.
func TestTrigger_a_lost_answer_is_lost_on_a_reused_connection(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_answer_lost")
	require.Equal(t, "requires_confirmation", g.status(id)) // leaves an idle connection behind
	_, err := g.post(id, "confirm", "key")
	require.Error(t, err)
}
