package gatewaysim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/gatewaysim"
)

func TestGateway_the_way_of_a_payment(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	require.Empty(t, g.Ledger(), "an unconfirmed intent moves nothing")

	r := g.mustPost(id, "confirm", "key-confirm")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "requires_capture", r.fields["status"])
	require.InEpsilon(t, 1999, r.fields["amount_capturable"], 0)
	require.NotNil(t, r.fields["latest_charge"])
	require.NotNil(t, r.fields["capture_before"])

	r = g.must("POST", "/v1/payment_intents/"+id+"/capture", "key-capture", map[string]any{
		"amount_to_capture": 1500, "metadata": map[string]string{"operation_id": "op-capture"},
	})
	require.Equal(t, "succeeded", r.fields["status"])
	require.InEpsilon(t, 1500, r.fields["amount_received"], 0)

	for range 2 {
		r = g.must("POST", "/v1/refunds", "key-refund", map[string]any{"payment_intent": id, "amount": 400})
		require.Equal(t, "succeeded", r.fields["status"])
	}
	r = g.must("POST", "/v1/refunds", "", map[string]any{"payment_intent": id})
	require.InEpsilon(t, 1100, r.fields["amount"], 0)
	refund := g.must("GET", "/v1/refunds/"+r.fields["id"].(string), "", nil)
	require.Equal(t, r.fields, refund.fields)
	list := g.must("GET", "/v1/refunds?payment_intent="+id, "", nil)
	require.Len(t, list.fields["data"], 2)
	require.Equal(t, false, list.fields["has_more"])

	entries := g.Ledger()
	require.Equal(t, []gatewaysim.EntryKind{"authorize", "capture", "release", "refund", "refund"}, g.kinds())
	require.Equal(t, "op-create", entries[0].OperationID)
	require.Equal(t, "op-capture", entries[1].OperationID)
	require.Equal(t, "key-capture", entries[1].IdempotencyKey)
	require.Equal(t, "order-1", entries[4].OrderID)
	require.Equal(t, gatewaysim.Totals{
		Intents: map[gatewaysim.Status]int{gatewaysim.Succeeded: 1},
		Currencies: []gatewaysim.Sums{{
			Currency: "EUR", Authorized: 1999, Captured: 1500, Released: 499, Refunded: 1500,
		}},
	}, g.Totals())
}

func TestGateway_void(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	g.mustPost(id, "confirm", "")
	r := g.must("POST", "/v1/payment_intents/"+id+"/cancel", "", map[string]any{"cancellation_reason": "abandoned"})
	require.Equal(t, "canceled", r.fields["status"])
	require.Equal(t, "abandoned", r.fields["cancellation_reason"])
	require.Equal(t, []gatewaysim.EntryKind{"authorize", "void"}, g.kinds())
	require.Zero(t, g.Totals().Of("EUR").Held)

	unconfirmed := g.create("tok_visa")
	require.Equal(t, "canceled", g.mustPost(unconfirmed, "cancel", "").fields["status"])
	require.Len(t, g.Ledger(), 2, "nothing was blocked, so nothing is released")
}

func TestGateway_a_declined_intent_can_be_paid_otherwise(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_declined")
	r := g.mustPost(id, "confirm", "first")
	require.Equal(t, http.StatusPaymentRequired, r.status)
	intent := g.must("GET", "/v1/payment_intents/"+id, "", nil)
	require.Equal(t, "requires_payment_method", intent.fields["status"])
	require.Equal(t, "generic_decline", intent.fields["last_payment_error"].(map[string]any)["decline_code"])

	r = g.must("POST", "/v1/payment_intents/"+id+"/confirm", "second", map[string]any{"payment_method": "tok_visa"})
	require.Equal(t, "requires_capture", r.fields["status"])
	require.Nil(t, r.fields["last_payment_error"])
}

func TestGateway_refuses_what_does_not_fit_the_state(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	refund := map[string]any{"payment_intent": id}
	unexpected := func(r response, status string) {
		t.Helper()
		require.Equal(t, http.StatusBadRequest, r.status)
		require.Equal(t, "payment_intent_unexpected_state", r.errorField("code"))
		require.Equal(t, status, r.errorField("payment_intent").(map[string]any)["status"], "the truth comes along")
	}
	unexpected(g.mustPost(id, "capture", ""), "requires_confirmation")
	unexpected(g.must("POST", "/v1/refunds", "", refund), "requires_confirmation")
	g.mustPost(id, "confirm", "")
	unexpected(g.mustPost(id, "confirm", ""), "requires_capture")
	r := g.must("POST", "/v1/payment_intents/"+id+"/capture", "", map[string]any{"amount_to_capture": 2000})
	require.Equal(t, "amount_too_large", r.errorField("code"))
	g.mustPost(id, "capture", "")
	unexpected(g.mustPost(id, "capture", ""), "succeeded")
	unexpected(g.mustPost(id, "cancel", ""), "succeeded")
	r = g.must("POST", "/v1/refunds", "", map[string]any{"payment_intent": id, "amount": 2000})
	require.Equal(t, "amount_too_large", r.errorField("code"))
	g.must("POST", "/v1/refunds", "", refund)
	require.Equal(t, "charge_already_refunded", g.must("POST", "/v1/refunds", "", refund).errorField("code"))
	require.Equal(t, []gatewaysim.EntryKind{"authorize", "capture", "refund"}, g.kinds())
}

func TestGateway_an_authorization_expires(t *testing.T) {
	t.Parallel()

	clock := newClock()
	g := start(t, gatewaysim.Config{AuthorizationTTL: time.Hour, Now: clock.now})
	seen, captured, forgotten := g.create("tok_visa"), g.create("tok_visa"), g.create("tok_visa")
	for _, id := range []string{seen, captured, forgotten} {
		g.mustPost(id, "confirm", "")
	}
	clock.advance(time.Hour)
	require.Equal(t, "canceled", g.status(seen))
	r := g.mustPost(captured, "capture", "")
	require.Equal(t, "charge_expired_for_capture", r.errorField("code"))
	require.Equal(t, "automatic", r.errorField("payment_intent").(map[string]any)["cancellation_reason"])
	totals := g.Totals()
	require.Equal(t, gatewaysim.Sums{Currency: "EUR", Authorized: 3 * 1999, Expired: 3 * 1999}, totals.Of("EUR"))
	require.Equal(t, map[gatewaysim.Status]int{gatewaysim.Canceled: 3}, totals.Intents)
}

func TestGateway_lists_intents(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	var ids []string
	for range 3 {
		ids = append(ids, g.create("tok_visa"))
	}
	g.must("POST", "/v1/payment_intents", "", map[string]any{"amount": 1, "currency": "jpy"})
	idsOf := func(path string) ([]string, any) {
		t.Helper()
		r := g.must("GET", path, "", nil)
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		found := []string{}
		for _, item := range r.fields["data"].([]any) {
			found = append(found, item.(map[string]any)["id"].(string))
		}
		return found, r.fields["has_more"]
	}
	found, more := idsOf("/v1/payment_intents?order_id=order-1&limit=2")
	require.Equal(t, []string{ids[2], ids[1]}, found)
	require.Equal(t, true, more)
	found, more = idsOf("/v1/payment_intents?order_id=order-1&limit=2&starting_after=" + ids[1])
	require.Equal(t, []string{ids[0]}, found)
	require.Equal(t, false, more)
	found, _ = idsOf("/v1/payment_intents?operation_id=op-create")
	require.Len(t, found, 3)
	found, _ = idsOf("/v1/payment_intents?order_id=nobody")
	require.Empty(t, found)
	found, _ = idsOf("/v1/payment_intents")
	require.Len(t, found, 4)
}

func TestGateway_bad_input(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	const (
		invalid = "parameter_invalid"
		missing = "parameter_missing"
		unknown = "parameter_unknown"
		nothing = "resource_missing"
	)
	cases := []struct {
		name, request, body string
		status              int
		code, param         string
	}{
		{"no body", "POST /payment_intents", ``, 400, missing, "currency"},
		{"not JSON", "POST /payment_intents", `amount=1`, 400, invalid, ""},
		{"two documents", "POST /payment_intents", `{}{}`, 400, invalid, ""},
		{"not an object", "POST /payment_intents", `[]`, 400, invalid, ""},
		{"unknown field", "POST /payment_intents", `{"amout":1}`, 400, unknown, "amout"},
		{"amount as text", "POST /payment_intents", `{"amount":"1"}`, 400, invalid, "amount"},
		{"no amount", "POST /payment_intents", `{"currency":"eur"}`, 400, missing, "amount"},
		{"negative", "POST /payment_intents", `{"currency":"eur","amount":-1}`, 400, invalid, "amount"},
		{
			"too much", "POST /payment_intents",
			`{"currency":"eur","amount":1000000000000}`, 400, invalid, "amount",
		},
		{
			"no such currency", "POST /payment_intents",
			`{"currency":"xxx","amount":1}`, 400, invalid, "currency",
		},
		{
			"automatic capture", "POST /payment_intents",
			`{"currency":"eur","amount":1,"capture_method":"automatic"}`, 400, invalid, "capture_method",
		},
		{
			"unknown token", "POST /payment_intents",
			`{"currency":"eur","amount":1,"payment_method":"tok_x"}`, 400, nothing, "payment_method",
		},
		{
			"long metadata", "POST /payment_intents",
			`{"currency":"eur","amount":1,"metadata":{"a":"` + strings.Repeat("x", 501) + `"}}`, 400, invalid, "metadata",
		},
		{"huge body", "POST /payment_intents", strings.Repeat(" ", 300<<10), 413, "body_too_large", ""},
		{"unknown intent", "POST /payment_intents/pi_none/confirm", ``, 404, nothing, "payment_intent"},
		{"unknown intent to read", "GET /payment_intents/pi_none", ``, 404, nothing, "payment_intent"},
		{
			"unknown token to confirm", "POST /payment_intents/" + id + "/confirm",
			`{"payment_method":"tok_answer_lost_0"}`, 400, nothing, "payment_method",
		},
		{
			"capture nothing", "POST /payment_intents/" + id + "/capture",
			`{"amount_to_capture":0}`, 400, missing, "amount_to_capture",
		},
		{
			"pretend expiry", "POST /payment_intents/" + id + "/cancel",
			`{"cancellation_reason":"automatic"}`, 400, invalid, "cancellation_reason",
		},
		{"refund of nothing", "POST /refunds", `{}`, 400, missing, "payment_intent"},
		{"refund of unknown", "POST /refunds", `{"payment_intent":"pi_none"}`, 404, nothing, "payment_intent"},
		{"unknown refund", "GET /refunds/re_none", ``, 404, nothing, "refund"},
		{"refunds of all", "GET /refunds", ``, 400, missing, "payment_intent"},
		{"misspelt filter", "GET /payment_intents?orderid=1", ``, 400, unknown, "orderid"},
		{"bad limit", "GET /payment_intents?limit=101", ``, 400, invalid, "limit"},
		{"no such route", "GET /charges", ``, 404, nothing, "route"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tc.request, " ")
			r := g.must(method, "/v1"+path, "", []byte(tc.body))
			require.Equal(t, tc.status, r.status, string(r.body))
			require.Equal(t, tc.code, r.errorField("code"))
			if tc.param != "" {
				require.Equal(t, tc.param, r.errorField("param"))
			}
			require.NotEmpty(t, r.errorField("message"))
		})
	}
	require.Equal(t, "requires_confirmation", g.status(id))
}

func TestGateway_api_key(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{APIKey: "sk_test"})
	r := g.must("GET", "/v1/payment_intents", "", nil)
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Equal(t, "api_key_invalid", r.errorField("code"))
	require.Equal(t, http.StatusOK, g.must("GET", "/admin/totals", "", nil).status, "the admin API needs no key")

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL()+"/v1/payment_intents", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer sk_test")
	answer, err := g.client.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestNew_refuses_bad_config(t *testing.T) {
	t.Parallel()

	_, err := gatewaysim.New(gatewaysim.Config{LateDelay: -1, KeyTTL: -1}, nil)
	require.ErrorContains(t, err, "LATE_DELAY")
	require.ErrorContains(t, err, "KEY_TTL")
}
