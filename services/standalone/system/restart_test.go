package system_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/stack"
)

// Everything is stopped with orders at every step, and started again on the same data.
func TestRestart_OrdersInFlightGoOn(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.DataDir = pgtest.Dir(t)
	withPatience(&o)
	survive(t, o, func() {})
}

// The broker comes back empty: commands, replies, events and committed offsets are gone. Only time is lost.
func TestRestart_BrokerWiped(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.DataDir = pgtest.Dir(t)
	o.Brokers = nil // ours to wipe
	withPatience(&o)
	survive(t, o, func() {
		require.NoError(t, os.RemoveAll(filepath.Join(o.DataDir, "kafka")))
	})
}

// survive stops the platform with orders on their way, lets between happen and starts it again.
func survive(t *testing.T, o stack.Options, between func()) {
	p := boot(t, o)
	p.sell("SKU-MUG", 1000)
	want := map[string]string{}
	order := func(outcome string, shape func(*coordinatorapi.NewOrder)) string {
		id := p.submit(mug(shape))
		want[id] = outcome
		return id
	}
	several := func(n int, outcome string, shape func(*coordinatorapi.NewOrder)) (last string) {
		for range n {
			last = order(outcome, shape)
		}
		return last
	}
	done := several(5, "completed", nil)
	p.until(done, "to end", ended)

	// Paid for in part, and the shipment's command is unread.
	require.NoError(t, p.Halt(t.Context(), stack.Shipping))
	several(5, "completed", nil)
	several(3, "cancelled address_not_served", func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" })
	back := several(1, "cancelled cancelled", nil)
	p.until(back, "to be authorized", holds("authorization"))
	require.Equal(t, "agreed", p.cancel(back)) // its shipment's undo is unread, too

	// Nobody knows whether the card was charged.
	p.must(http.MethodPut, p.system.Gateway+"/admin/outage", "", map[string]any{"on": true}, nil)
	several(3, "cancelled card_declined", token("tok_declined"))
	doubtful := several(5, "completed", nil)
	p.until(doubtful, "to be in doubt", func(o coordinatorapi.Order) bool {
		return strings.Contains(o.Explanation.Summary, "doubt") || holds("stock")(o)
	})

	// The first command of all is unread.
	require.NoError(t, p.Halt(t.Context(), stack.Inventory))
	several(5, "completed", nil)

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	stopped := time.Now()
	require.NoError(t, p.Stop(ctx))
	t.Logf("stopped in %.1f s", time.Since(stopped).Seconds())
	between()

	p = boot(t, o)
	again := time.Now()
	for id, expected := range want {
		require.Equal(t, expected, outcome(p.until(id, "to end", ended)), id)
	}
	t.Logf("all %d orders ended %.1f s after the start", len(want), time.Since(again).Seconds())
	p.addsUp(len(want))
	p.nothingParked()
}

// holds: the order has an effect of the kind in the world, proven.
func holds(kind string) func(coordinatorapi.Order) bool {
	return func(o coordinatorapi.Order) bool {
		for _, e := range o.Effects {
			if e.Kind == kind && string(e.State) == "held" {
				return true
			}
		}
		return false
	}
}
