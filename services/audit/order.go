package audit

import (
	"context"
	"fmt"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// verdict collects what is wrong with one order.
type verdict struct {
	report *Report
	order  *coordinatorapi.BookEntry
}

func (v verdict) say(list *[]Finding, format string, args ...any) {
	v.report.add(list, Finding{
		Order: v.order.OrderID.String(), What: fmt.Sprintf("%s order: ", v.order.Status) + fmt.Sprintf(format, args...),
	})
}

// order holds one order's public status against the books.
func (a *audit) order(ctx context.Context, o *coordinatorapi.BookEntry, e *effects) error {
	r := a.report
	r.Orders++
	r.ByStatus[string(o.Status)]++
	r.expect(o)
	v := verdict{report: r, order: o}
	v.money(e)
	v.labels(e)
	if o.Status != coordinatorapi.OrderStatusCompleted && o.Status != coordinatorapi.OrderStatusCancelled &&
		o.Status != coordinatorapi.OrderStatusClosed {
		r.Open++
	}
	return a.goods(ctx, v, e)
}

func (v verdict) completed() bool { return v.order.Status == coordinatorapi.OrderStatusCompleted }

// undone says that nothing may be left of it. An order that an operator closed is neither: he answers for what it holds.
func (v verdict) undone() bool { return v.order.Status == coordinatorapi.OrderStatusCancelled }

// labels compares with the shipping service's own books; the carrier's ledger is compared with those, see labels.go.
func (v verdict) labels(e *effects) {
	var bought, live int64
	for _, s := range e.shipments {
		bought += s.LabelsBought
		live += s.LabelsLive
	}
	v.report.LabelsLive += int(live)
	if bought > 1 {
		v.say(&v.report.Doubled, "%d labels bought, by the shipping service", bought)
	}
	if v.completed() && live != 1 {
		v.say(&v.report.Missing, "%d live labels, by the shipping service", live)
	}
	if v.undone() && live != 0 {
		v.say(&v.report.HeldAfterUndo, "%d live labels, by the shipping service", live)
	}
}

// expect counts what an order may have charged and shipped: surely for a completed one, perhaps for one that is open or
// was closed by an operator.
func (r *Report) expect(o *coordinatorapi.BookEntry) {
	money := r.currency(o.Currency)
	if o.Status == coordinatorapi.OrderStatusCancelled {
		return
	}
	surely := int64(0)
	if o.Status == coordinatorapi.OrderStatusCompleted {
		surely = 1
	}
	money.OrderedLeast += surely * o.TotalMinor
	money.OrderedMost += o.TotalMinor
	for _, l := range o.Lines {
		s := r.sku(l.Sku)
		s.OrderedLeast += surely * l.Quantity
		s.OrderedMost += l.Quantity
	}
}

// stranger reports effects of an order that the coordinator does not have.
func (r *Report) stranger(id string, e *effects) {
	r.add(&r.HeldAfterUndo, Finding{Order: id, What: fmt.Sprintf(
		"effects of an order that the coordinator does not have: %d payments, %d shipments, %d reservations, %d movements at the gateway",
		len(e.payments), len(e.shipments), len(e.reservations), len(e.gateway))})
	for _, p := range e.payments {
		r.currency(p.Currency).Booked += p.Intent.Captured - p.Intent.Refunded
	}
	for currency, g := range sumOf(e.gateway) {
		b := r.currency(currency)
		*b.Charged += g.charged()
		if g.charged() != 0 {
			b.AddsUp = false
			r.add(&r.Money, Finding{Order: id, What: fmt.Sprintf(
				"%s: the gateway charged %d for an order that the coordinator does not have", currency, g.charged())})
		}
	}
	for _, reservation := range e.reservations {
		for _, s := range reservation.Skus {
			r.sku(s.Sku).Shipped += s.Shipped
			r.sku(s.Sku).AddsUp = false
		}
	}
}
