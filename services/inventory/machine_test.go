package inventory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/pkg/worker/workertest"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/inventory"
)

// machineChecks bounds the histories that are played, each of about thirty steps on a real database.
const machineChecks = 15

// plainOrder is an order as the model knows it.
type plainOrder struct {
	command *inventoryv1.ReserveStock
	wants   map[string]int64
	// state is that of its hold; empty before the do, "fenced" when the undo came first.
	state inventory.State
	// reserved and committed are the kinds of reply that were given for good, and are repeated.
	reserved, committed string
}

const (
	refused inventory.State = "refused"
	fenced  inventory.State = "fenced"
)

// plainLevel is a level as the model knows it.
type plainLevel struct{ onHand, reserved int64 }

// stockMachine plays a history on the service and on a model of a few lines.
type stockMachine struct {
	t      *testing.T
	shop   *shop
	skus   []string
	levels map[string]*plainLevel
	orders []*plainOrder
}

// The stock ledger against a plain model: receive, count, reserve, commit, release and expire in any order, with
// repeats and undos that come first. Every reply and every level is what the model says, and the books agree.
func TestMachine(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	checks := 0
	failed := false
	rapid.Check(t, func(rt *rapid.T) {
		if checks++; checks > machineChecks && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }()
		m := &stockMachine{t: t, shop: s, levels: map[string]*plainLevel{}}
		for _, name := range []string{"MUG", "PEN"} {
			sku := fmt.Sprintf("%s-%d", name, checks)
			m.skus, m.levels[sku] = append(m.skus, sku), &plainLevel{onHand: 5}
			s.stock(t, sku, "BERLIN", "DE", 5)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": m.check, "receive": m.receive, "count": m.count, "reserve": m.reserve, "reserve_again": m.reserveAgain,
			"release": m.release, "release_first": m.releaseFirst, "commit": m.commit, "expire": m.expire,
		})
	})
}

func (m *stockMachine) receive(t *rapid.T) {
	sku, n := rapid.SampledFrom(m.skus).Draw(t, "sku"), rapid.Int64Range(1, 6).Draw(t, "quantity")
	m.shop.stock(m.t, sku, "BERLIN", "DE", n)
	m.levels[sku].onHand += n
}

// count may find less than is promised.
func (m *stockMachine) count(t *rapid.T) {
	sku, n := rapid.SampledFrom(m.skus).Draw(t, "sku"), rapid.Int64Range(0, 9).Draw(t, "count")
	m.shop.count(m.t, sku, "BERLIN", n)
	m.levels[sku].onHand = n
}

func (m *stockMachine) newOrder(t *rapid.T) *plainOrder {
	o := &plainOrder{wants: map[string]int64{}}
	var wants []want
	for _, sku := range m.skus {
		if n := rapid.Int64Range(0, 4).Draw(t, sku[:3]); n > 0 {
			o.wants[sku] = n
			wants = append(wants, want{sku, n})
		}
	}
	if len(wants) == 0 {
		t.Skip("an order of nothing")
	}
	o.command = m.shop.reserve(wants...)
	m.orders = append(m.orders, o)
	return o
}

func (m *stockMachine) reserve(t *rapid.T) {
	o := m.newOrder(t)
	m.doReserve(t, o)
}

func (m *stockMachine) doReserve(t *rapid.T, o *plainOrder) {
	reply := m.shop.kit.Do(m.t, o.command)
	if o.state == "" {
		o.state, o.reserved = inventory.StateHeld, "done"
		for sku, n := range o.wants {
			if l := m.levels[sku]; l.onHand-l.reserved < n {
				o.state, o.reserved = refused, "refused"
			}
		}
		if o.state == inventory.StateHeld {
			m.reserved(o, 1)
		}
	}
	require.Equal(t, o.reserved, kindOf(reply), "%v", reply)
}

// reserved changes what is promised by the order's quantities, times a sign.
func (m *stockMachine) reserved(o *plainOrder, sign int64) {
	for sku, n := range o.wants {
		m.levels[sku].reserved += sign * n
	}
}

func (m *stockMachine) any(t *rapid.T) *plainOrder {
	if len(m.orders) == 0 {
		t.Skip("no order yet")
	}
	return m.orders[rapid.IntRange(0, len(m.orders)-1).Draw(t, "order")]
}

func (m *stockMachine) reserveAgain(t *rapid.T) {
	o := m.any(t)
	o.command = workertest.Again(m.t, o.command)
	m.doReserve(t, o)
}

func (m *stockMachine) releaseFirst(t *rapid.T) {
	o := m.newOrder(t)
	reply := m.shop.kit.Undo(m.t, release(o.command))
	require.True(t, reply.GetUndone().GetNothing(), "%v", reply)
	o.state, o.reserved = fenced, "fenced"
}

func (m *stockMachine) release(t *rapid.T) {
	o := m.any(t)
	reply := m.shop.kit.Undo(m.t, release(o.command))
	switch o.state {
	case inventory.StateCommitted, inventory.StateConsumed:
		require.Equal(t, inventory.CodeAlreadyCommitted, reply.GetRefused().GetCode(), "%v", reply)
		return
	case inventory.StateHeld:
		m.reserved(o, -1)
		o.state, o.reserved = inventory.StateReleased, "fenced"
	case inventory.StateExpired:
		o.state, o.reserved = inventory.StateReleased, "fenced"
	case inventory.StateReleased, refused, fenced:
	}
	require.NotNil(t, reply.GetUndone(), "%v", reply)
}

func (m *stockMachine) commit(t *rapid.T) {
	o := m.any(t)
	reply := m.shop.kit.Do(m.t, commit(o.command))
	if o.committed == "" {
		o.committed = m.doCommit(o)
	}
	require.Equal(t, o.committed, kindOf(reply), "%v", reply)
	if o.committed == "retry" {
		o.committed = "" // no answer for good
	}
}

// doCommit is what committing an order comes to.
func (m *stockMachine) doCommit(o *plainOrder) string {
	switch o.state {
	case inventory.StateHeld, inventory.StateCommitted:
	case inventory.StateExpired: // made again, if the goods are not promised to others meanwhile
		for sku, n := range o.wants {
			if l := m.levels[sku]; l.onHand-l.reserved < n {
				return "refused"
			}
		}
		m.reserved(o, 1)
	case inventory.StateConsumed, inventory.StateReleased, refused, fenced:
		return "refused"
	}
	for sku, n := range o.wants {
		if m.levels[sku].onHand < n {
			o.state = inventory.StateCommitted
			return "retry"
		}
	}
	for sku, n := range o.wants {
		m.levels[sku].onHand -= n
	}
	m.reserved(o, -1)
	o.state = inventory.StateConsumed
	return "done"
}

// expire lets two hours pass: every hold that nobody paid for ends.
func (m *stockMachine) expire(t *rapid.T) {
	m.shop.skip(2 * time.Hour)
	_, err := m.shop.sweeper.RunOnce(m.t.Context())
	require.NoError(t, err)
	for _, o := range m.orders {
		if o.state == inventory.StateHeld {
			m.reserved(o, -1)
			o.state = inventory.StateExpired
		}
	}
}

func (m *stockMachine) check(t *rapid.T) {
	for _, sku := range m.skus {
		have, want := m.shop.level(m.t, sku, "BERLIN"), m.levels[sku]
		require.Equal(t, *want, plainLevel{have.OnHand, have.Reserved}, sku)
		require.Equal(t, max(0, want.reserved-want.onHand), have.Shortage, sku)
		list, err := m.shop.api.ListTotals(m.t.Context(), inventoryapi.ListTotalsRequestObject{
			Params: inventoryapi.ListTotalsParams{Sku: &sku},
		})
		require.NoError(t, err)
		totals, ok := list.(inventoryapi.ListTotals200JSONResponse)
		require.True(t, ok)
		require.Len(t, totals.Totals, 1)
		require.True(t, totals.Totals[0].Agree, "%+v", totals.Totals[0])
	}
}

func kindOf(r *sagav1.Reply) string {
	switch {
	case r.GetDone() != nil:
		return "done"
	case r.GetRefused() != nil:
		return "refused"
	case r.GetFenced() != nil:
		return "fenced"
	case r.GetRetry() != nil:
		return "retry"
	case r.GetInDoubt() != nil:
		return "in_doubt"
	case r.GetUndone() != nil:
		return "undone"
	}
	return "nothing"
}
