package shipping_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
	"recourse.dev/services/shipping"
)

// bundle is the participant over a fake carrier.
type bundle struct {
	*workertest.Kit
	fake *fakeCarrier
	pool *pgxpool.Pool
}

// setup makes a bundle whose requests to the carrier time out, and are repeated after the visibility delay.
func setup(t *testing.T, timeout, visibility time.Duration) *bundle {
	t.Helper()
	pool := pgtest.DB(t, migrations.FS("shipping"))
	fake := newFakeCarrier(t)
	h := shipping.NewHandler(pool, fake.carrier(t, timeout), visibility)
	t.Cleanup(h.Close)
	return &bundle{workertest.New(t, pool, h.Register), fake, pool}
}

func prompt(t *testing.T) *bundle { return setup(t, 5*time.Second, time.Nanosecond) }

func address() *orderv1.Address {
	return &orderv1.Address{
		Name: "Ada Lovelace", Lines: []string{"12 St James's Square", "2nd floor"}, City: "London",
		PostalCode: "SW1Y 4JH", Country: "GB",
	}
}

func createFor(meta *sagav1.CommandMeta) *shippingv1.CreateShipment {
	return &shippingv1.CreateShipment{
		Meta: meta, ShipTo: address(), Reference: "R-1",
		Items: []*shippingv1.ShipmentItem{{LineId: "1", Sku: "MUG", Quantity: 2}, {LineId: "2", Sku: "TEE", Quantity: 1}},
	}
}

func create() *shippingv1.CreateShipment { return createFor(workertest.Meta("create_shipment")) }

func cancelOf(do *shippingv1.CreateShipment) *shippingv1.CancelShipment {
	return &shippingv1.CancelShipment{Meta: workertest.UndoMeta(do.GetMeta()), Reason: "refused"}
}

const stateSQL = `
SELECT s.state || ' ' || l.state || ' ' || string_agg(o.kind || ':' || o.state, ',' ORDER BY o.operation_id)
FROM shipment s
JOIN package p ON p.shipment_id = s.shipment_id
JOIN label l ON l.package_id = p.package_id
JOIN carrier_operation o ON o.label_id = l.label_id
WHERE s.order_id = $1
GROUP BY s.state, l.state`

// state is what the rows of an order's shipment say, in one line.
func (b *bundle) state(t *testing.T, do *shippingv1.CreateShipment) string {
	t.Helper()
	var state string
	err := b.pool.QueryRow(t.Context(), stateSQL, do.GetMeta().GetOrderId()).Scan(&state)
	if err == pgx.ErrNoRows { //nolint:errorlint // pgx returns it bare
		return "none"
	}
	require.NoError(t, err)
	return state
}

// resolved asks until the carrier has proven what is the case, and returns that reply.
func (b *bundle) resolved(t *testing.T) *sagav1.Reply {
	t.Helper()
	for range 5 {
		for _, reply := range b.Resolve(t) {
			if reply.GetInDoubt() == nil {
				return reply
			}
		}
	}
	require.Fail(t, "still in doubt after five questions")
	return nil
}

func TestShipping_conforms(t *testing.T) {
	t.Parallel()
	bundles := make(chan map[*workertest.Kit]*fakeCarrier, 1)
	bundles <- map[*workertest.Kit]*fakeCarrier{}
	workertest.Conformance(t, workertest.Contract{
		Step: "create_shipment",
		Kit: func(t *testing.T) *workertest.Kit {
			b := prompt(t)
			all := <-bundles
			all[b.Kit] = b.fake
			bundles <- all
			return b.Kit
		},
		Do: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input { return createFor(meta) },
		Refused: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			do := createFor(meta)
			do.ShipTo.Country = "AQ"
			return do
		},
		Undo: func(_ *testing.T, _ *workertest.Kit, meta *sagav1.CommandMeta) worker.Input {
			return &shippingv1.CancelShipment{Meta: meta}
		},
		Effects: func(t *testing.T, kit *workertest.Kit) int {
			t.Helper()
			all := <-bundles
			fake := all[kit]
			bundles <- all
			var live int
			require.NoError(t, kit.Pool.QueryRow(t.Context(), `
				SELECT count(*)
				FROM label
				WHERE state IN ('purchased', 'void_requested', 'void_rejected')`).Scan(&live))
			require.Equal(t, fake.live(), live, "live labels of the carrier and of the service")
			return live
		},
	})
}

func TestCreateShipment_done(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	do := create()
	reply := b.Do(t, do)
	done := reply.GetDone()
	require.NotNil(t, done, reply)
	require.Len(t, done.GetEffects(), 1)
	require.Equal(t, "label", done.GetEffects()[0].GetKind())
	require.Equal(t, int64(1), done.GetEffects()[0].GetAmount())
	require.Equal(t, "SIM1", done.GetEffects()[0].GetHandle())
	require.Equal(t, "SIM1", done.GetHandles()["tracking_number"])
	require.Equal(t, "Simpost", done.GetHandles()["carrier"])
	require.NoError(t, uuid.Validate(done.GetHandles()["shipment_id"]))
	require.Equal(t, "labelled purchased buy:succeeded", b.state(t, do))
}

// Whatever goes wrong on the way to the carrier, one label is bought, and the service knows it.
func TestCreateShipment_one_label(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults map[string][]fault
		// bookings is how many free bookings may be left at the carrier.
		bookings int
	}{
		{"answer to the booking lost", map[string][]fault{"create": {dropAfter}}, 1},
		{"booking never arrived", map[string][]fault{"create": {dropBefore}}, 1},
		{"answer to the purchase lost", map[string][]fault{"buy": {dropAfter}}, 1},
		{"purchase never arrived", map[string][]fault{"buy": {dropBefore}}, 1},
		{"500 after the purchase", map[string][]fault{"buy": {status500}}, 1},
		{"503 before the purchase", map[string][]fault{"buy": {status503}}, 1},
		{"lost again and again", map[string][]fault{
			"create": {dropAfter}, "list": {dropAfter}, "buy": {dropBefore, dropAfter},
		}, 1},
		{"answer lost and look-up too", map[string][]fault{"buy": {dropAfter}, "list": {status503, dropBefore}}, 1},
		{"booking made, refused when asked again", map[string][]fault{"create": {dropAfter, reject}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := prompt(t)
			for route, faults := range tt.faults {
				b.fake.fail(route, faults...)
			}
			do := create()
			first := b.Do(t, do)
			require.NotNil(t, first.GetInDoubt(), first)
			require.Equal(t, "label_unknown unknown buy:unknown", b.state(t, do))
			reply := b.resolved(t)
			require.NotNil(t, reply.GetDone(), reply)
			require.Zero(t, reply.GetAttempt(), "the participant speaks first")
			require.Equal(t, "labelled purchased buy:succeeded", b.state(t, do))
			bought, refunded := b.fake.labels()
			require.Equal(t, []int{1, 0}, []int{bought, refunded})
			require.Equal(t, tt.bookings, b.fake.bookings())
		})
	}
}

// A purchase that hangs is carried out after its caller has given up, while the next one is already on its way.
func TestCreateShipment_late_purchase(t *testing.T) {
	t.Parallel()
	b := setup(t, 200*time.Millisecond, time.Nanosecond)
	b.fake.fail("buy", late)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	reply := b.resolved(t)
	require.NotNil(t, reply.GetDone(), reply)
	close(b.fake.release)
	<-b.fake.lateRan
	bought, _ := b.fake.labels()
	require.Equal(t, 1, bought)
	require.Equal(t, 2, b.fake.asked("buy"))
	require.Equal(t, reply.GetDone().GetHandles(), b.Do(t, workertest.Again(t, do)).GetDone().GetHandles())
}

// Until the visibility delay has passed a request may still be carried out, so it is not repeated.
func TestCreateShipment_waits_for_visibility(t *testing.T) {
	t.Parallel()
	b := setup(t, 200*time.Millisecond, time.Hour)
	b.fake.fail("buy", late)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	require.Equal(t, 1, b.fake.asked("buy"), "no second purchase yet")
	close(b.fake.release)
	<-b.fake.lateRan
	require.NotNil(t, b.resolved(t).GetDone(), "the look-up finds the late one")
	require.Equal(t, 1, b.fake.asked("buy"))
}

// The look-up by reference lags behind, so a second booking is made. The label goes to the one that was stored.
func TestCreateShipment_list_lags(t *testing.T) {
	t.Parallel()
	b := setup(t, 200*time.Millisecond, time.Nanosecond)
	b.fake.fail("create", late)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt(), "the first booking hangs")
	b.fake.fail("buy", dropBefore)
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt(), "a second one is made and stored, its purchase is lost")
	close(b.fake.release)
	<-b.fake.lateRan
	require.Equal(t, 2, b.fake.bookings(), "the first one shows up after all")
	reply := b.resolved(t)
	require.Equal(t, "shp_1", reply.GetDone().GetHandles()["carrier_ref"], "bought is the one that was stored")
	bought, _ := b.fake.labels()
	require.Equal(t, 1, bought)
}

// The look-up shows an older booking only after a label was asked for another one. Both purchases would be carried out,
// so the second question must be about the booking of the first.
func TestCreateShipment_list_shows_another_booking(t *testing.T) {
	t.Parallel()
	b := setup(t, 200*time.Millisecond, time.Nanosecond)
	b.fake.fail("create", dropAfter)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt(), "the answer to the first booking is lost")
	b.fake.fail("list", lag)
	b.fake.fail("buy", late)
	require.NotNil(t, b.Resolve(t)[0].GetInDoubt(), "a second one is made and stored, its purchase hangs")
	require.Equal(t, 2, b.fake.bookings())
	reply := b.resolved(t)
	require.Equal(t, "shp_2", reply.GetDone().GetHandles()["carrier_ref"], "bought is the one that was stored")
	close(b.fake.release)
	<-b.fake.lateRan
	bought, _ := b.fake.labels()
	require.Equal(t, 1, bought)
}

func TestCreateShipment_outage(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	b.fake.setOutage(true)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	for range 3 {
		require.NotNil(t, b.Resolve(t)[0].GetInDoubt())
	}
	require.NotNil(t, b.Do(t, workertest.Again(t, do)).GetInDoubt(), "a repeat starts no second call")
	b.fake.setOutage(false)
	require.NotNil(t, b.resolved(t).GetDone())
	require.Equal(t, 1, b.fake.live())
}

func TestCreateShipment_refused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*shippingv1.CreateShipment)
		fault  string
		code   string
		asks   int
	}{
		{"country not served", func(c *shippingv1.CreateShipment) { c.ShipTo.Country = "AQ" }, "", "address_not_served", 1},
		{"no such address", func(c *shippingv1.CreateShipment) { c.ShipTo.PostalCode = "00000" }, "", "address_invalid", 1},
		{"too heavy", func(c *shippingv1.CreateShipment) { c.Items[0].Quantity = 100 }, "", "weight_limit", 1},
		{"purchase refused", func(*shippingv1.CreateShipment) {}, "buy", "address_not_served", 1},
		{"no address", func(c *shippingv1.CreateShipment) { c.ShipTo = nil }, "", "address_invalid", 0},
		{"no street", func(c *shippingv1.CreateShipment) { c.ShipTo.Lines = nil }, "", "address_invalid", 0},
		{"no country", func(c *shippingv1.CreateShipment) { c.ShipTo.Country = "Germany" }, "", "address_invalid", 0},
		{"nothing in it", func(c *shippingv1.CreateShipment) { c.Items = nil }, "", "items_invalid", 0},
		{"negative quantity", func(c *shippingv1.CreateShipment) { c.Items[0].Quantity = -1 }, "", "items_invalid", 0},
		{"line twice", func(c *shippingv1.CreateShipment) { c.Items[1].LineId = "1" }, "", "items_invalid", 0},
		{"more than there is", func(c *shippingv1.CreateShipment) { c.Items[0].Quantity = 1 << 62 }, "", "items_invalid", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := prompt(t)
			do := create()
			tt.change(do)
			if tt.fault != "" {
				b.fake.fail(tt.fault, reject)
			}
			refused := b.Do(t, do).GetRefused()
			require.Equal(t, tt.code, refused.GetCode(), refused)
			require.Equal(t, tt.asks, b.fake.asked("create"))
			require.Zero(t, b.fake.live())
			if tt.asks > 0 {
				require.Equal(t, "refused refused buy:failed", b.state(t, do))
			}
			require.True(t, b.Undo(t, cancelOf(do)).GetUndone().GetNothing())
		})
	}
}

func TestCreateShipment_second_shipment_of_an_order(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	first, second := create(), create()
	second.Meta.OrderId = first.GetMeta().GetOrderId()
	replies := b.Send(t, first, second)
	require.Equal(t, shipping.CodeAlreadyShipped, replies[0].GetRefused().GetCode(), replies)
	require.NotNil(t, b.Do(t, workertest.Again(t, first)).GetDone())
	require.NotNil(t, b.Undo(t, cancelOf(first)).GetUndone())
	third := create()
	third.Meta.OrderId = first.GetMeta().GetOrderId()
	require.NotNil(t, b.Do(t, third).GetDone(), "the slot is free again")
	require.Equal(t, 1, b.fake.live())
}

func TestCreateShipment_text_that_postgres_refuses(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	do := create()
	do.ShipTo.Name, do.Items[0].Sku = "A\x00B", "M\x00"
	require.NotNil(t, b.Do(t, do).GetDone())
}

func TestCancelShipment_undone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults map[string][]fault
		doubts bool
	}{
		{"at once", nil, false},
		{"refund lost", map[string][]fault{"refund": {dropAfter}}, true},
		{"refund never arrived", map[string][]fault{"refund": {dropBefore}}, true},
		{"500 after the refund", map[string][]fault{"refund": {status500}}, true},
		{"refund lost and look-up too", map[string][]fault{"refund": {dropAfter}, "get": {status503}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := prompt(t)
			do := create()
			require.NotNil(t, b.Do(t, do).GetDone())
			for route, faults := range tt.faults {
				b.fake.fail(route, faults...)
			}
			reply := b.Undo(t, cancelOf(do))
			if tt.doubts {
				require.NotNil(t, reply.GetInDoubt(), reply)
				require.Equal(t, "cancelling void_requested buy:succeeded,void:unknown", b.state(t, do))
				reply = b.resolved(t)
			}
			require.NotNil(t, reply.GetUndone(), reply)
			require.False(t, reply.GetUndone().GetNothing())
			require.Equal(t, "cancelled voided buy:succeeded,void:succeeded", b.state(t, do))
			bought, refunded := b.fake.labels()
			require.Equal(t, []int{1, 1}, []int{bought, refunded})
		})
	}
}

func TestCancelShipment_late_refund(t *testing.T) {
	t.Parallel()
	b := setup(t, 200*time.Millisecond, time.Nanosecond)
	do := create()
	require.NotNil(t, b.Do(t, do).GetDone())
	b.fake.fail("refund", late)
	require.NotNil(t, b.Undo(t, cancelOf(do)).GetInDoubt())
	require.NotNil(t, b.resolved(t).GetUndone(), "a second refund gets through")
	close(b.fake.release)
	<-b.fake.lateRan
	require.Zero(t, b.fake.live())
}

func TestCancelShipment_rejected(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	do := create()
	require.NotNil(t, b.Do(t, do).GetDone())
	b.fake.fail("refund", reject)
	undo := cancelOf(do)
	refused := b.Undo(t, undo).GetRefused()
	require.Equal(t, shipping.CodeVoidRejected, refused.GetCode())
	require.Equal(t, "cancel_rejected void_rejected buy:succeeded,void:failed", b.state(t, do))
	require.Equal(t, 1, b.fake.live(), "the label is still live, and that is said")

	require.NotNil(t, b.Undo(t, workertest.Again(t, undo)).GetUndone(), "the next try asks the carrier again")
	require.Equal(t, "cancelled voided buy:succeeded,void:failed,void:succeeded", b.state(t, do))
	require.Zero(t, b.fake.live())
}

// The order is undone while nobody knows whether its label is bought.
func TestCancelShipment_while_in_doubt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		faults  []fault
		bought  int
		nothing bool
	}{
		{"it was bought", []fault{dropAfter}, 1, false},
		{"it was not bought", []fault{dropBefore}, 1, false},
		{"it is refused", []fault{dropBefore, reject}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := prompt(t)
			b.fake.fail("buy", tt.faults...)
			do := create()
			require.NotNil(t, b.Do(t, do).GetInDoubt())
			undo := cancelOf(do)
			require.NotNil(t, b.Undo(t, undo).GetInDoubt(), "the wish is remembered")
			b.Resolve(t)
			reply := b.Undo(t, workertest.Again(t, undo))
			require.NotNil(t, reply.GetUndone(), reply)
			require.Equal(t, tt.nothing, reply.GetUndone().GetNothing())
			require.Zero(t, b.fake.live())
			bought, _ := b.fake.labels()
			require.Equal(t, tt.bought, bought)
			late := b.Do(t, workertest.Again(t, do))
			require.Equal(t, tt.nothing, late.GetRefused() != nil, late)
			require.Equal(t, !tt.nothing, late.GetFenced() != nil, late)
		})
	}
}

func TestCreateShipment_dies_before_the_call(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	do := create()
	require.True(t, b.Crash(t, crash.WorkerAfterCommit, do))
	require.Equal(t, "label_requested requested buy:requested", b.state(t, do))
	require.Zero(t, b.fake.asked("create"))
	require.NotNil(t, b.resolved(t).GetDone())
	require.Equal(t, 1, b.fake.live())
}

func TestCancelShipment_statements_do_not_grow(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	count := func(size int) []string {
		dos, undos := make([]worker.Input, size), make([]worker.Input, size)
		for i := range dos {
			do := create()
			dos[i], undos[i] = do, cancelOf(do)
		}
		b.Send(t, dos...)
		return b.Count(t, undos...)
	}
	one := count(1)
	require.Equal(t, one, count(10))
	require.Equal(t, one, count(200))
	require.Zero(t, b.fake.live())
}

// How many answers are settled together is chance; what it takes is not.
func TestShipping_settling_statements_do_not_grow(t *testing.T) {
	t.Parallel()
	b := prompt(t)
	var first []string
	for _, size := range []int{1, 10, 200} {
		dos := make([]worker.Input, size)
		for i := range dos {
			dos[i] = create()
		}
		_, err := b.Worker.Process(t.Context(), b.Records(t, dos...))
		require.NoError(t, err)
		for settled := 0; settled < size; {
			var counter pg.Counter
			replies, err := b.Worker.Settle(pg.WithCounter(t.Context(), &counter))
			require.NoError(t, err)
			settled += len(replies)
			if first == nil {
				first = counter.SQL()
			}
			require.Equal(t, first, counter.SQL(), "settling %d answers of %d", len(replies), size)
		}
	}
	require.Equal(t, 211, b.fake.live())
}
