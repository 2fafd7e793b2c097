package gatewaysim_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/services/gatewaysim"
)

func TestFault_every_kind(t *testing.T) {
	t.Parallel()

	cases := []struct {
		kind    sandbox.Kind
		delay   int64
		status  int // 0: the connection breaks
		entries int // after the first try
		then    int // the status of a second try with the same key
	}{
		{sandbox.DropBefore, 0, 0, 0, 200},
		{sandbox.Status503, 0, 503, 0, 200},
		{sandbox.Status429, 0, 429, 0, 200},
		{sandbox.LateEffect, 1, 200, 1, 200},
		{sandbox.Decline, 0, 402, 0, 402},
		{sandbox.Status500, 0, 500, 1, 500},
		{sandbox.Delay, 1, 200, 1, 200},
		{sandbox.DropAfter, 0, 0, 1, 200},
	}
	require.Len(t, cases, len(sandbox.Kinds))
	for _, tc := range cases {
		t.Run(string(tc.kind), func(t *testing.T) {
			t.Parallel()

			g := start(t, gatewaysim.Config{})
			id := g.create("tok_visa")
			r := g.must("PUT", "/admin/faults", "", sandbox.Rule{
				Route: "confirm", Kind: tc.kind, Count: 1, DelayMS: tc.delay,
			})
			require.Equal(t, http.StatusOK, r.status, string(r.body))
			first, err := g.post(id, "confirm", "key")
			require.Equal(t, tc.status == 0, err != nil)
			require.Equal(t, tc.status, first.status)
			require.Len(t, g.Ledger(), tc.entries)
			require.Equal(t, tc.then, g.mustPost(id, "confirm", "key").status)
			require.Empty(t, g.Faults().Rules(), "the count is used up")
		})
	}
}

func TestFault_admin_api(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	rule := sandbox.Rule{Route: "*", Kind: sandbox.Status503}
	require.Equal(t, http.StatusOK, g.must("PUT", "/admin/faults", "", rule).status)
	require.JSONEq(t, `[{"route":"*","kind":"status_503"}]`, string(g.must("GET", "/admin/faults", "", nil).body))
	r := g.must("GET", "/v1/payment_intents", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "service_unavailable", r.errorField("code"))
	require.Equal(t, http.StatusNoContent, g.must("DELETE", "/admin/faults", "", nil).status)
	require.JSONEq(t, `[]`, string(g.must("GET", "/admin/faults", "", nil).body))
	require.Equal(t, http.StatusOK, g.must("GET", "/v1/payment_intents", "", nil).status)

	bad := g.must("PUT", "/admin/faults", "", sandbox.Rule{Route: "pay", Kind: sandbox.Delay})
	require.Equal(t, http.StatusBadRequest, bad.status)
	require.Contains(t, bad.errorField("message"), "confirm")
	require.JSONEq(t, `[]`, string(g.must("GET", "/admin/ledger", "", nil).body))
	require.Equal(t, http.StatusOK, g.must("GET", "/livez", "", nil).status)
}

func TestFault_outage(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	g.must("PUT", "/admin/outage", "", sandbox.Outage{On: true})
	_, err := g.post(id, "confirm", "key")
	require.Error(t, err)
	g.must("PUT", "/admin/outage", "", sandbox.Outage{On: true, Mode: sandbox.Outage503})
	require.Equal(t, http.StatusServiceUnavailable, g.mustPost(id, "confirm", "key").status)
	r := g.must("PUT", "/admin/outage", "", map[string]any{"on": true, "mode": "dark"})
	require.Equal(t, http.StatusBadRequest, r.status)
	require.Empty(t, g.Ledger())
	g.must("PUT", "/admin/outage", "", sandbox.Outage{})
	require.Equal(t, http.StatusOK, g.mustPost(id, "confirm", "key").status)
}

func TestFault_late_effect_by_rule_outlives_the_caller(t *testing.T) {
	t.Parallel()

	g := start(t, gatewaysim.Config{})
	id := g.create("tok_visa")
	require.NoError(t, g.Faults().Set(sandbox.Rule{Route: "confirm", Kind: sandbox.LateEffect, DelayMS: 50, Count: 1}))
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := g.do(impatient, "POST", "/v1/payment_intents/"+id+"/confirm", "key", nil)
	require.Error(t, err)
	g.eventually(id, "requires_capture")
}
