package audit

// movement is an entry of the gateway's ledger.
type movement struct {
	Kind     string `json:"kind"`
	OrderID  string `json:"order_id"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// The kinds of movements.
const (
	authorized = "authorize"
	captured   = "capture"
	released   = "release"
	voided     = "void"
	expired    = "expire"
	refunded   = "refund"
)

// moved is what the gateway's ledger says about one order, in one currency.
type moved struct {
	authorizations, captures                  int
	authorized, captured, unblocked, refunded int64
}

func (m *moved) charged() int64 { return m.captured - m.refunded }
func (m *moved) blocked() int64 { return m.authorized - m.captured - m.unblocked }

func sumOf(ledger []movement) map[string]*moved {
	sums := map[string]*moved{}
	for _, entry := range ledger {
		m := sums[entry.Currency]
		if m == nil {
			m = &moved{}
			sums[entry.Currency] = m
		}
		switch entry.Kind {
		case authorized:
			m.authorizations++
			m.authorized += entry.Amount
		case captured:
			m.captures++
			m.captured += entry.Amount
		case released, voided, expired:
			m.unblocked += entry.Amount
		case refunded:
			m.refunded += entry.Amount
		}
	}
	return sums
}

// money compares an order with the payment service, that with itself, and both with the gateway if its ledger is read.
func (v verdict) money(e *effects) {
	r := v.report
	wrong := func(list *[]Finding, currency, format string, args ...any) {
		r.currency(currency).AddsUp = false
		v.say(list, format, args...)
	}
	var paid, charged, held int64
	for _, p := range e.payments {
		r.currency(p.Currency).Booked += p.Intent.Captured - p.Intent.Refunded
		if p.Intent != p.Journal {
			wrong(&r.Money, p.Currency, "%s: payment %+v and its journal %+v differ", p.Currency, p.Intent, p.Journal)
		}
		if p.Currency != v.order.Currency {
			wrong(&r.Money, p.Currency, "its payment is in %s and not in %s", p.Currency, v.order.Currency)
			continue
		}
		paid += p.Intent.Captured
		charged += p.Intent.Captured - p.Intent.Refunded
		held += p.Intent.Held
	}
	if v.completed() {
		if paid != v.order.TotalMinor {
			wrong(&r.Missing, v.order.Currency, "the payment service captured %d of %d", paid, v.order.TotalMinor)
		}
		if held != 0 {
			wrong(&r.HeldAfterUndo, v.order.Currency, "the payment service still blocks %d", held)
		}
	}
	if v.undone() && (charged != 0 || held != 0) {
		wrong(&r.HeldAfterUndo, v.order.Currency, "the payment service charged %d and blocks %d", charged, held)
	}
	sums := sumOf(e.gateway)
	for currency, m := range sums {
		*r.currency(currency).Charged += m.charged()
		if m.authorizations > 1 {
			wrong(&r.Doubled, currency, "authorized %d times", m.authorizations)
		}
		if m.captures > 1 {
			wrong(&r.Doubled, currency, "captured %d times", m.captures)
		}
		if currency != v.order.Currency && m.charged() != 0 {
			wrong(&r.Money, currency, "%s: the gateway charged %d, and the order is in %s", currency, m.charged(), v.order.Currency)
		}
	}
	if r.ledger {
		m := sums[v.order.Currency]
		if m == nil {
			m = &moved{}
		}
		v.gateway(m, charged, held, wrong)
	}
}

// gateway holds an order that has ended, and what the payment service says of it, against the gateway's own ledger.
func (v verdict) gateway(m *moved, charged, held int64, wrong func(list *[]Finding, currency, format string, args ...any)) {
	r, currency := v.report, v.order.Currency
	if v.completed() {
		if m.captured != v.order.TotalMinor {
			wrong(&r.Missing, currency, "captured %d of %d", m.captured, v.order.TotalMinor)
		}
		if m.blocked() != 0 {
			wrong(&r.HeldAfterUndo, currency, "the gateway still blocks %d", m.blocked())
		}
	}
	if v.undone() && (m.charged() != 0 || m.blocked() != 0) {
		wrong(&r.HeldAfterUndo, currency, "the gateway charged %d and blocks %d", m.charged(), m.blocked())
	}
	if (v.completed() || v.undone()) && (m.charged() != charged || m.blocked() != held) {
		wrong(&r.Money, currency, "%s: the gateway charged %d and blocks %d, the payment service says %d and %d",
			currency, m.charged(), m.blocked(), charged, held)
	}
}
