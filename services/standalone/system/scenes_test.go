package system_test

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/order"
	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/stack"
)

type collect = assert.CollectT

// scenes plays every row of docs/failure-atlas.md.
var scenes = map[string]scene{
	"reserve_stock/refused":             {shape: func(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-GONE" }},
	"reserve_stock/no_answer":           {rule: silent("reserve_stock")},
	"reserve_stock/cancelled_in_flight": {rule: heldReply("reserve_stock"), act: cancelInFlight("agreed")},
	"reserve_stock/deadline_in_flight":  {shape: deadlineSoon, rule: heldReply("reserve_stock"), act: lateAtDeadline},
	"reserve_stock/undo_refused":        {rule: backFrom(after("reserve_stock"), undoRefusedOnce("reserve_stock")), act: cancelHeld},
	"reserve_stock/undo_no_answer":      {rule: backFrom(after("reserve_stock"), net(of("reserve_stock", undo, false, drop))), act: cancelHeldUntilTold},
	"reserve_stock/do_after_undo":       {rule: heldDo("reserve_stock"), act: cancelThenLate},

	"authorize_payment/refused":             {shape: token("tok_declined")},
	"authorize_payment/no_answer":           {rule: silent("authorize_payment")},
	"authorize_payment/in_doubt_then_done":  {shape: token("tok_answer_lost")},
	"authorize_payment/cancelled_in_flight": {rule: heldReply("authorize_payment"), act: cancelInFlight("agreed")},
	"authorize_payment/deadline_in_flight":  {shape: deadlineSoon, rule: heldReply("authorize_payment"), act: lateAtDeadline},
	"authorize_payment/undo_refused":        {rule: backFrom(after("authorize_payment"), undoRefusedOnce("authorize_payment")), act: cancelHeld},
	"authorize_payment/undo_no_answer":      {rule: backFrom(after("authorize_payment"), net(of("authorize_payment", undo, false, drop))), act: cancelHeldUntilTold},
	"authorize_payment/undo_in_doubt":       {shape: token("tok_void_answer_lost"), rule: heldReply(after("authorize_payment")), act: cancelInFlight("agreed")},
	"authorize_payment/do_after_undo":       {rule: heldDo("authorize_payment"), act: cancelThenLate},
	// The gateway closes the connection before it does anything, once; asked again, it declines.
	"authorize_payment/in_doubt_then_refused": {
		shape: token("tok_declined"), alone: true, rule: heldDo("authorize_payment"),
		act: fault(stack.GatewaySim, "confirm", "drop_before"),
	},

	"create_shipment/refused":             {shape: func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }},
	"create_shipment/no_answer":           {rule: silent("create_shipment")},
	"create_shipment/in_doubt_then_done":  {shape: zip("BUY-LOST")},
	"create_shipment/cancelled_in_flight": {rule: heldReply("create_shipment"), act: cancelInFlight("agreed")},
	"create_shipment/deadline_in_flight":  {shape: deadlineSoon, rule: heldReply("create_shipment"), act: lateAtDeadline},
	// The pivot refuses, so the order goes back from the shipment.
	"create_shipment/undo_refused":   {shape: token("tok_capture_declined"), rule: undoRefusedOnce("create_shipment")},
	"create_shipment/undo_no_answer": {shape: token("tok_capture_declined"), rule: net(of("create_shipment", undo, false, drop)), act: silentUntilTold},
	"create_shipment/undo_in_doubt": {shape: func(o *coordinatorapi.NewOrder) {
		token("tok_capture_declined")(o)
		zip("REFUND-LOST")(o)
	}},
	"create_shipment/do_after_undo": {rule: heldDo("create_shipment"), act: cancelThenLate},
	"create_shipment/in_doubt_then_refused": {
		shape: func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }, alone: true, rule: heldDo("create_shipment"),
		act: fault(stack.CarrierSim, "create", "drop_before"),
	},

	"capture_payment/refused":                {shape: token("tok_capture_declined")},
	"capture_payment/no_answer":              {rule: silent("capture_payment"), act: silentUntilTold},
	"capture_payment/in_doubt_then_done":     {shape: token("tok_capture_answer_lost")},
	"capture_payment/cancelled_in_flight":    {rule: heldReply("capture_payment"), act: cancelInFlight("pending_decision")},
	"capture_payment/deadline_in_flight":     {shape: deadlineSoon, rule: heldReply("capture_payment"), act: lateAtDeadline},
	"capture_payment/cancelled_then_refused": {shape: token("tok_capture_declined"), rule: heldReply("capture_payment"), act: cancelInFlight("pending_decision")},
	"capture_payment/in_doubt_then_refused": {
		shape: token("tok_capture_declined"), alone: true, rule: heldDo("capture_payment"),
		act: fault(stack.GatewaySim, "capture", "drop_before"),
	},

	"commit_stock/refused":             {shape: lastOne, rule: heldDo("commit_stock"), act: holdExpires, alone: true},
	"commit_stock/no_answer":           {rule: silent("commit_stock"), act: silentUntilTold},
	"commit_stock/cancelled_in_flight": {rule: heldReply("commit_stock"), act: cancelInFlight("too_late")},

	"send_confirmation/refused":               {shape: mail("bounce@example.com")},
	"send_confirmation/no_answer":             {rule: net(of("send_confirmation", do, false, drop))},
	"send_confirmation/in_doubt_then_done":    {shape: mail("tempfail-once@example.com")},
	"send_confirmation/in_doubt_then_refused": {shape: mail("data-tempfail@example.com")},
	"send_confirmation/cancelled_in_flight":   {rule: heldReply("send_confirmation"), act: cancelInFlight("too_late")},
}

func deadlineSoon(o *coordinatorapi.NewOrder) { o.DeadlineSeconds = ptr(4) }

func lastOne(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-LAST" }

// after names the step that comes next: an order that turns back there undoes the step itself.
func after(step string) string {
	d, err := order.Fulfilment(order.DefaultTiming)
	if err != nil {
		panic(err) // a part of the program
	}
	i, ok := d.Index(step)
	if !ok || i+1 == len(d.Steps()) {
		panic("no step comes after " + step)
	}
	return d.Steps()[i+1].Name
}

// backFrom holds the replies of the step at which the order is turned back, beside another rule.
func backFrom(step string, other func(*atlas) rule) func(*atlas) rule {
	return func(a *atlas) rule {
		held, rest := of(step, do, true, hold), other(a)
		return func(p *packet) fate {
			if f := held(p); f != pass {
				return f
			}
			return rest(p)
		}
	}
}

// cancelHeld cancels while a later step is in flight; what is held stays held.
func cancelHeld(a *atlas, id string) {
	a.inFlight(id)
	require.Equal(a.t, "agreed", a.cancel(id))
}

func cancelHeldUntilTold(a *atlas, id string) {
	cancelHeld(a, id)
	silentUntilTold(a, id)
}

// fault lets a provider fail the next request of a route once, and only then lets the step go.
func fault(provider, route, kind string) func(*atlas, string) {
	return func(a *atlas, id string) {
		a.inFlight(id)
		a.must(http.MethodPut, a.URL(provider)+"/admin/faults", "", map[string]any{"route": route, "kind": kind, "count": 1}, nil)
		a.net.release(id)
	}
}

// holdExpires lets the clock take the order's reservation and another order
// take the goods, then lets the commit go; new goods come when an operator was told.
func holdExpires(a *atlas, id string) {
	a.inFlight(id)
	pool := pgtest.Pool(a.t, a.DatabaseURL(stack.Inventory))
	_, err := pool.Exec(a.t.Context(), `UPDATE reservation SET expires_at = now() WHERE order_id = $1`, id)
	require.NoError(a.t, err)
	var page struct{ Reservations []struct{ State string } }
	require.EventuallyWithT(a.t, func(c *collect) {
		a.must(http.MethodGet, a.system.Inventory+"/v1/reservations?order_id="+id, "", nil, &page)
		require.Equal(c, "expired", page.Reservations[0].State)
	}, 30*time.Second, 50*time.Millisecond)
	other := a.submit(mug(lastOne))
	a.net.obey(other, func(*packet) fate { return pass })
	a.until(other, "to take the last one", ended)
	a.net.release(id)
	a.attention(id)
	a.sell("SKU-LAST", 1)
}
