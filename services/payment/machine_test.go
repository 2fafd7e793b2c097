package payment_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/payment"
)

// machineChecks bounds the histories that are played, each of about thirty steps on a real database.
const machineChecks = 8

// moneyMoved is what has happened to an order's money, by the provider's own ledger or by ours.
type moneyMoved struct{ authorized, captured, voided, expired int64 }

func (m moneyMoved) held() int64 { return m.authorized - m.captured - m.voided - m.expired }

// paid is one order as the machine knows it.
type paid struct {
	meta  *sagav1.CommandMeta
	token string
	// captureAsked says that a capture was sent.
	captureAsked bool
	// said is what the participant has claimed so far; a claim is never taken back.
	said moneyMoved
	// gone says that the participant has claimed that nothing is held and nothing ever will be.
	gone bool
}

// paymentMachine plays a history on the service; the model is the ledger of the provider, who is outside of it all.
type paymentMachine struct {
	t      *testing.T
	bundle bundle
	orders []*paid
}

// The payment ledger against the provider's: authorize, capture and void in any order, with repeats, deaths, outages and
// answers that are lost, wrong or late. Our books are never ahead of the provider's ledger, no money moves twice, what
// was claimed stays true, and when all is healed both say the same.
func TestMachine(t *testing.T) {
	t.Parallel()
	b := setupWith(t, patient, 100*time.Millisecond)
	checks := 0
	failed := false
	rapid.Check(t, func(rt *rapid.T) {
		if checks++; checks > machineChecks && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }()
		m := &paymentMachine{t: t, bundle: b}
		rt.Repeat(map[string]func(*rapid.T){
			"": m.check, "authorize": m.authorize, "capture": m.capture, "void": m.void, "void_first": m.voidFirst,
			"repeat": m.repeat, "resolve": m.resolve, "outage": m.outage, "late": m.late, "die": m.die,
		})
		m.heal(rt)
	})
}

// faults are those after which the provider can still tell the truth.
var faults = []fault{dropAfter, dropBefore, error500, nonsense, busy, unauthorized, declines, refuses}

// trouble makes the next requests of some calls go wrong.
func (m *paymentMachine) trouble(t *rapid.T, calls ...payment.Call) {
	for _, call := range calls {
		if rapid.IntRange(0, 2).Draw(t, string(call)) == 0 {
			strikes := rapid.SampledFrom(faults).Draw(t, "fault")
			if call == payment.CallList || call == payment.CallGet {
				strikes = rapid.SampledFrom([]fault{dropBefore, busy, unauthorized}).Draw(t, "silence")
			}
			m.bundle.provider.next(call, strikes)
		}
	}
}

func (m *paymentMachine) newOrder(t *rapid.T) *paid {
	o := &paid{
		meta:  workertest.Meta(authorizeStep),
		token: rapid.SampledFrom([]string{"tok_visa", "tok_visa", "tok_visa", "tok_declined", "tok_unknown"}).Draw(t, "token"),
	}
	m.orders = append(m.orders, o)
	return o
}

func (m *paymentMachine) any(t *rapid.T) *paid {
	if len(m.orders) == 0 {
		t.Skip("no order yet")
	}
	return m.orders[rapid.IntRange(0, len(m.orders)-1).Draw(t, "order")]
}

func (m *paymentMachine) send(t *rapid.T, commands ...worker.Input) {
	m.hear(t, m.bundle.Send(m.t, commands...))
}

// hear notes what the participant claims, and that it claims nothing that the provider's ledger does not say.
func (m *paymentMachine) hear(t *rapid.T, replies []*sagav1.Reply) {
	for _, reply := range replies {
		i := slices.IndexFunc(m.orders, func(o *paid) bool { return o.meta.GetSagaId() == reply.GetSagaId() })
		if i < 0 {
			continue // of a history before this one
		}
		o := m.orders[i]
		truth := m.truth(o)
		switch {
		case reply.GetDone() != nil && reply.GetStep() == authorizeStep:
			o.said.authorized = 1999
			require.EqualValues(t, 1999, truth.authorized, "authorized, and the provider knows nothing of it")
		case reply.GetDone() != nil:
			o.said.captured = 1999
			require.EqualValues(t, 1999, truth.captured, "captured, and the provider knows nothing of it")
		case reply.GetUndone() != nil:
			o.gone = true
		}
	}
}

// truth is what the provider's own ledger says about an order.
func (m *paymentMachine) truth(o *paid) (sum moneyMoved) {
	p := m.bundle.provider
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.ledger {
		if line.order != o.meta.GetOrderId() {
			continue
		}
		switch line.kind {
		case "authorize":
			sum.authorized += line.amount
		case "capture":
			sum.captured += line.amount
		case "void":
			sum.voided += line.amount
		case "expire":
			sum.expired += line.amount
		}
	}
	return sum
}

func (m *paymentMachine) authorize(t *rapid.T) {
	o := m.newOrder(t)
	if o.token != "tok_unknown" {
		// A 500 for an intent that cannot be made is what the provider says under that key for ever.
		m.trouble(t, payment.CallCreate)
	}
	m.trouble(t, payment.CallConfirm)
	m.send(t, authorize(o.meta, o.token))
}

func (m *paymentMachine) capture(t *rapid.T) {
	o := m.any(t)
	if o.said.authorized == 0 {
		t.Skip("the coordinator captures what it was told to be authorized")
	}
	m.trouble(t, payment.CallCapture)
	o.captureAsked = true
	m.send(t, capture(o.meta))
}

func (m *paymentMachine) void(t *rapid.T) {
	o := m.any(t)
	m.trouble(t, payment.CallCancel)
	m.send(t, void(o.meta))
}

func (m *paymentMachine) voidFirst(t *rapid.T) {
	o := m.newOrder(t)
	m.send(t, void(o.meta))
	m.send(t, authorize(o.meta, o.token))
	require.True(t, o.gone)
	require.Zero(t, m.truth(o), "its undo was first")
}

func (m *paymentMachine) repeat(t *rapid.T) {
	o := m.any(t)
	commands := []worker.Input{workertest.Again(m.t, authorize(o.meta, o.token))}
	if o.captureAsked {
		commands = append(commands, workertest.Again(m.t, capture(o.meta)))
	}
	m.send(t, commands...)
}

func (m *paymentMachine) resolve(t *rapid.T) {
	m.trouble(t, payment.CallList, payment.CallGet, payment.CallConfirm)
	m.hear(t, m.bundle.Resolve(m.t))
}

func (m *paymentMachine) outage(t *rapid.T) {
	m.bundle.provider.setOutage(rapid.Bool().Draw(t, "on"))
}

// late lets a request have its effect after everybody has stopped waiting.
func (m *paymentMachine) late(t *rapid.T) {
	call := rapid.SampledFrom([]payment.Call{payment.CallConfirm, payment.CallCapture, payment.CallCancel}).Draw(t, "call")
	m.bundle.provider.next(call, late)
	if rapid.Bool().Draw(t, "released") {
		m.bundle.provider.releaseLate()
	}
}

// die kills the worker in the middle of an authorization.
func (m *paymentMachine) die(t *rapid.T) {
	o := m.newOrder(t)
	m.bundle.Crash(m.t, rapid.SampledFrom([]crash.Name{
		crash.WorkerAfterHandle, crash.WorkerAfterCommit, crash.WorkerAfterCall, crash.WorkerBeforeSettleCommit,
		crash.WorkerAfterSettleCommit,
	}).Draw(t, "point"), authorize(o.meta, o.token))
}

// check compares the books after every step.
func (m *paymentMachine) check(t *rapid.T) {
	for _, o := range m.orders {
		truth, ours := m.truth(o), m.ours(o)
		require.LessOrEqual(t, truth.authorized, int64(1999), "authorized twice")
		require.LessOrEqual(t, truth.captured, int64(1999), "captured twice")
		require.GreaterOrEqual(t, truth.held(), int64(0), "more was given back than was there: %+v", truth)
		for name, pair := range map[string][2]int64{
			"authorized": {ours.authorized, truth.authorized}, "captured": {ours.captured, truth.captured},
			"voided": {ours.voided, truth.voided}, "expired": {ours.expired, truth.expired},
		} {
			require.LessOrEqual(t, pair[0], pair[1], "our books say more %s than the provider's ledger", name)
		}
		require.LessOrEqual(t, o.said.captured, truth.captured)
		if o.gone {
			require.Zero(t, truth.held(), "it was said to be undone, and the provider holds money")
			require.Zero(t, truth.captured, "it was said to be undone, and the customer has paid")
		}
	}
	requireBooksAgree(m.t, m.bundle.Pool)
}

// ours is what our books say about an order.
func (m *paymentMachine) ours(o *paid) (sum moneyMoved) {
	row := m.bundle.Pool.QueryRow(m.t.Context(), `
		SELECT COALESCE(sum(authorized), 0), COALESCE(sum(captured), 0), COALESCE(sum(voided), 0), COALESCE(sum(expired), 0)
		FROM intent WHERE order_id = $1`, o.meta.GetOrderId())
	require.NoError(m.t, row.Scan(&sum.authorized, &sum.captured, &sum.voided, &sum.expired))
	return sum
}

// heal ends all trouble and lets everything in doubt be asked again: then both ledgers say the same.
func (m *paymentMachine) heal(t *rapid.T) {
	p := m.bundle.provider
	p.setOutage(false)
	p.mu.Lock()
	clear(p.faults)
	p.mu.Unlock()
	p.releaseLate()
	require.EventuallyWithT(m.t, func(c *assert.CollectT) {
		m.hear(t, m.bundle.Resolve(m.t))
		require.Empty(c, textsOf(m.t, m.bundle.Pool,
			`SELECT concat_ws(' ', order_id, kind, operation.state, unknown_reason, next_probe_at)
			FROM operation JOIN intent USING (intent_id) WHERE operation.state NOT IN ('succeeded', 'failed')`))
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Empty(c, p.inUse)
	}, 20*time.Second, 10*time.Millisecond)
	for _, o := range m.orders {
		require.Equal(t, m.truth(o), m.ours(o), fmt.Sprint(operationsOf(m.t, m.bundle.Pool, o.meta)))
	}
	m.check(t)
}
