package carriersim_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/services/carriersim"
)

// TestTrigger_every_address runs create, buy and refund to every address that makes trouble, and compares what the
// caller saw with what happened.
func TestTrigger_every_address(t *testing.T) {
	t.Parallel()

	const ok, lost = "ok", "lost"
	cases := []struct {
		country, zip        string
		create, buy, refund string
		kinds               string
	}{
		{"DE", "10115", ok, ok, ok, "label_bought label_refunded"},
		{"AQ", "10115", "address_not_served", "", "", ""},
		{"DE", "00000", "address_invalid", "", "", ""},
		{"DE", "CREATE-LOST", lost, ok, ok, "label_bought label_refunded"},
		{"DE", "BUY-LOST", ok, lost, ok, "label_bought label_refunded"},
		{"DE", "BUY-LATE", ok, ok, ok, "label_bought label_refunded"},
		{"DE", "BUY-500", ok, "internal_error", ok, "label_bought label_refunded"},
		{"DE", "BUY-REFUSED", ok, "address_not_served", "shipment_not_bought", ""},
		{"DE", "REFUND-LOST", ok, ok, lost, "label_bought label_refunded"},
		{"DE", "REFUND-LATE", ok, ok, ok, "label_bought label_refunded"},
		{"DE", "REFUND-REJECTED", ok, ok, "rejected", "label_bought"},
		{"DE", "SLOW", ok, ok, ok, "label_bought label_refunded"},
	}
	tested := map[string]bool{}
	said := func(r response, err error) string {
		switch {
		case err != nil:
			return lost
		case r.status >= http.StatusBadRequest:
			return r.Error.Code
		case r.RefundStatus != nil && *r.RefundStatus == "rejected":
			return "rejected"
		}
		return ok
	}
	for _, tc := range cases {
		tested[tc.country], tested[tc.zip] = true, true
		t.Run(tc.country+"/"+tc.zip, func(t *testing.T) {
			t.Parallel()

			c := start(t, carriersim.Config{LateDelay: time.Millisecond, SlowDelay: time.Millisecond})
			shipment, err := c.do(t.Context(), "POST", "/v1/shipments", parcelTo(tc.country, tc.zip))
			require.Equal(t, tc.create, said(shipment, err))
			if tc.buy == "" {
				require.Zero(t, c.Totals().Shipments)
				return
			}
			if err != nil {
				shipment = c.byReference("ref-1")
			}
			require.Equal(t, tc.buy, said(c.buy(shipment)))
			require.Equal(t, tc.refund, said(c.refund(shipment)))
			kinds := []string{}
			for _, entry := range c.Ledger() {
				kinds = append(kinds, string(entry.Kind))
			}
			require.Equal(t, tc.kinds, strings.Join(kinds, " "))
		})
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, trigger := range carriersim.Triggers() {
		name := trigger.Country + trigger.Zip
		require.True(t, tested[name], "%s is not tested", name)
		require.Contains(t, string(doc), name, "not in doc.go")
	}
}

func TestTrigger_a_repeat_after_a_lost_answer_is_told(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	shipment := c.create("BUY-LOST")
	_, err := c.buy(shipment)
	require.Error(t, err)
	require.NotNil(t, c.get(shipment).TrackingCode, "GET tells")
	again, err := c.buy(shipment)
	require.NoError(t, err)
	require.Equal(t, "shipment_already_bought", again.Error.Code)
	require.Len(t, c.Ledger(), 1)
}

func TestTrigger_late_buy_happens_after_the_caller_has_left(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{LateDelay: 50 * time.Millisecond})
	shipment := c.create("BUY-LATE")
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := c.buyWithin(impatient, shipment)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EventuallyWithT(t, func(check *assert.CollectT) {
		require.NotNil(check, c.get(shipment).TrackingCode)
	}, 10*time.Second, 2*time.Millisecond)
	require.Len(t, c.Ledger(), 1)
}

func TestFault_every_kind(t *testing.T) {
	t.Parallel()

	cases := []struct {
		kind    sandbox.Kind
		delay   int64
		status  int // 0: the connection breaks
		entries int
	}{
		{sandbox.DropBefore, 0, 0, 0},
		{sandbox.Status503, 0, 503, 0},
		{sandbox.Status429, 0, 429, 0},
		{sandbox.LateEffect, 1, 200, 1},
		{sandbox.Decline, 0, 422, 0},
		{sandbox.Status500, 0, 500, 1},
		{sandbox.Delay, 1, 200, 1},
		{sandbox.DropAfter, 0, 0, 1},
	}
	require.Len(t, cases, len(sandbox.Kinds))
	for _, tc := range cases {
		t.Run(string(tc.kind), func(t *testing.T) {
			t.Parallel()

			c := start(t, carriersim.Config{})
			shipment := c.create("10115")
			require.NoError(t, c.Faults().Set(sandbox.Rule{Route: "buy", Kind: tc.kind, Count: 1, DelayMS: tc.delay}))
			r, err := c.buy(shipment)
			require.Equal(t, tc.status == 0, err != nil)
			require.Equal(t, tc.status, r.status)
			require.Len(t, c.Ledger(), tc.entries)
			require.Equal(t, tc.entries == 1, c.get(shipment).TrackingCode != nil)
		})
	}
}

func TestFault_outage(t *testing.T) {
	t.Parallel()

	c := start(t, carriersim.Config{})
	shipment := c.create("10115")
	require.NoError(t, c.SetOutage(sandbox.Outage{On: true}))
	_, err := c.buy(shipment)
	require.Error(t, err)
	require.NoError(t, c.SetOutage(sandbox.Outage{On: true, Mode: sandbox.Outage503}))
	require.Equal(t, "service_unavailable", c.get(shipment).Error.Code)
	require.Equal(t, http.StatusOK, c.must("GET", "/admin/totals", "").status)
	require.NoError(t, c.SetOutage(sandbox.Outage{}))
	require.Equal(t, shipment.ID, c.get(shipment).ID)
	require.Empty(t, c.Ledger())
}
