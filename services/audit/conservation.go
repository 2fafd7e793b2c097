package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	auditapi "recourse.dev/schemas/gen/api/audit"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// Conservation reads the system's books and compares them.
func Conservation(ctx context.Context, s System) (*Report, error) {
	begin := time.Now()
	b, err := read(ctx, s)
	if err != nil {
		return nil, err
	}
	r := compare(b)
	r.CheckedAt, r.Seconds, r.AddsUp = begin.UTC(), time.Since(begin).Seconds(), r.OK()
	return r, nil
}

// effects is what the world says about one order.
type effects struct {
	known                            bool
	authorizations, captures, labels int
	authorized, captured, unblocked  int64
	refunded                         int64
	live                             int
	// held is reserved now, of all SKUs; shipped left the stock, by SKU.
	held    int64
	shipped map[string]int64
}

func (e *effects) blocked() int64 { return e.authorized - e.captured - e.unblocked }

func compare(b *books) *Report {
	r := newReport()
	r.Orders = len(b.orders)
	world := b.world()
	for i := range b.orders {
		o := &b.orders[i]
		r.ByStatus[string(o.Status)]++
		w := world[o.ID.String()]
		if w == nil {
			w = &effects{}
		}
		w.known = true
		r.compareOrder(o, w)
	}
	for _, id := range slices.Sorted(maps.Keys(world)) {
		if !world[id].known {
			r.HeldAfterUndo = append(r.HeldAfterUndo, Finding{Order: id, What: "effects of an order that the coordinator does not have"})
		}
	}
	r.compareStock(b)
	r.compareMoney(b)
	for _, l := range b.carrier {
		switch l.Kind {
		case labelBought:
			r.LabelsLive++
		case labelRefunded:
			r.LabelsLive--
		}
	}
	return r
}

func (b *books) world() map[string]*effects {
	out := map[string]*effects{}
	of := func(order string) *effects {
		if out[order] == nil {
			out[order] = &effects{shipped: map[string]int64{}}
		}
		return out[order]
	}
	for _, m := range b.gateway {
		e := of(m.OrderID)
		switch m.Kind {
		case authorized:
			e.authorizations++
			e.authorized += m.Amount
		case captured:
			e.captures++
			e.captured += m.Amount
		case released, voided, expired:
			e.unblocked += m.Amount
		case refunded:
			e.refunded += m.Amount
		}
	}
	for _, l := range b.carrier {
		order, ok := b.shipments[l.Reference]
		if !ok {
			order = "shipment " + l.Reference
		}
		e := of(order)
		switch l.Kind {
		case labelBought:
			e.labels++
			e.live++
		case labelRefunded:
			e.live--
		}
	}
	for _, reservation := range b.reservations {
		e := of(reservation.OrderID.String())
		for _, line := range reservation.Lines {
			e.held += line.Open
			e.shipped[line.Sku] += line.Shipped
		}
	}
	return out
}

// compareOrder holds one order's public status against the world.
func (r *Report) compareOrder(o *coordinatorapi.Order, w *effects) {
	id := o.ID.String()
	say := func(list *[]Finding, format string, args ...any) {
		*list = append(*list, Finding{Order: id, What: fmt.Sprintf("%s order: ", o.Status) + fmt.Sprintf(format, args...)})
	}
	if w.authorizations > 1 {
		say(&r.Doubled, "authorized %d times", w.authorizations)
	}
	if w.captures > 1 {
		say(&r.Doubled, "captured %d times", w.captures)
	}
	if w.labels > 1 {
		say(&r.Doubled, "%d labels bought", w.labels)
	}
	should := map[string]int64{}
	switch o.Status {
	case coordinatorapi.OrderStatusCompleted:
		if w.captured != o.TotalMinor {
			say(&r.Missing, "captured %d of %d", w.captured, o.TotalMinor)
		}
		if w.live != 1 {
			say(&r.Missing, "%d live labels", w.live)
		}
		if w.blocked() != 0 || w.held != 0 {
			say(&r.HeldAfterUndo, "still blocks %d and reserves %d", w.blocked(), w.held)
		}
		for _, l := range o.Lines {
			should[l.Sku] += l.Quantity
		}
	case coordinatorapi.OrderStatusCancelled:
		if net := w.captured - w.refunded; net != 0 || w.blocked() != 0 || w.live != 0 || w.held != 0 {
			say(&r.HeldAfterUndo, "charged %d, blocks %d, %d live labels, reserves %d", net, w.blocked(), w.live, w.held)
		}
	case coordinatorapi.OrderStatusClosed:
		return // an operator ended it and answers for what it holds
	default:
		r.Open++
		return
	}
	for sku := range w.shipped {
		should[sku] += 0 // so that the loop below meets what left and was not ordered too
	}
	for _, sku := range slices.Sorted(maps.Keys(should)) {
		if should[sku] != w.shipped[sku] {
			say(&r.Stock, "%d units of %s left the stock, not %d", w.shipped[sku], sku, should[sku])
		}
	}
}

// span is what a sum may be while orders are open.
type span struct{ least, most int64 }

func (s span) holds(v int64) bool { return v >= s.least && v <= s.most }

// add counts an order's part: surely for a completed one, perhaps for one that is open or was closed by an operator.
func (s *span) add(status coordinatorapi.OrderStatus, v int64) {
	switch status {
	case coordinatorapi.OrderStatusCompleted:
		s.least += v
		s.most += v
	case coordinatorapi.OrderStatusCancelled:
	default:
		s.most += v
	}
}

func (r *Report) compareStock(b *books) {
	explained := len(r.Stock) > 0 // by orders
	want := map[string]*span{}
	for i := range b.orders {
		for _, l := range b.orders[i].Lines {
			if want[l.Sku] == nil {
				want[l.Sku] = &span{}
			}
			want[l.Sku].add(b.orders[i].Status, l.Quantity)
		}
	}
	for _, t := range b.stock {
		w := want[t.Sku]
		if w == nil {
			w = &span{}
		}
		balance := auditapi.SKUBalance{
			Sku: t.Sku, In: t.Ledger.Received + t.Ledger.Returned + t.Ledger.Adjusted + t.Ledger.Transferred,
			Shipped: t.Ledger.Shipped, OrderedLeast: w.least, OrderedMost: w.most,
			Reserved: t.Levels.Reserved, OnHand: t.Levels.OnHand, AddsUp: true,
		}
		differs := func(format string, args ...any) {
			balance.AddsUp = false
			r.Stock = append(r.Stock, Finding{What: t.Sku + ": " + fmt.Sprintf(format, args...)})
		}
		if !t.Agree {
			differs("levels, ledger and reservations do not agree: %+v", t)
		}
		switch {
		case w.holds(t.Ledger.Shipped):
		case explained:
			balance.AddsUp = false
		default:
			differs("%d units left the stock; completed orders have %d, open ones up to %d more",
				t.Ledger.Shipped, w.least, w.most-w.least)
		}
		if reserve := w.most - w.least; t.Levels.Reserved > reserve {
			differs("%d units are reserved; open orders account for %d", t.Levels.Reserved, reserve)
		}
		r.Skus = append(r.Skus, balance)
	}
}

func (r *Report) compareMoney(b *books) {
	want, charged, booked := map[string]*span{}, map[string]int64{}, map[string]int64{}
	of := func(currency string) *span {
		if want[currency] == nil {
			want[currency] = &span{}
		}
		return want[currency]
	}
	for i := range b.orders {
		of(b.orders[i].Currency).add(b.orders[i].Status, b.orders[i].TotalMinor)
	}
	for _, m := range b.gateway {
		of(m.Currency)
		switch m.Kind {
		case captured:
			charged[m.Currency] += m.Amount
		case refunded:
			charged[m.Currency] -= m.Amount
		}
	}
	torn := map[string]bool{}
	for _, c := range b.payments.Currencies {
		of(c.Currency)
		booked[c.Currency] = c.Intents.Captured - c.Intents.Refunded
		if c.Intents != c.Journal {
			torn[c.Currency] = true
			r.Money = append(r.Money, Finding{What: fmt.Sprintf("%s: intents %+v and journal %+v differ", c.Currency, c.Intents, c.Journal)})
		}
	}
	for _, currency := range slices.Sorted(maps.Keys(want)) {
		w := want[currency]
		balance := auditapi.CurrencyBalance{
			Currency: currency, Charged: charged[currency], Booked: booked[currency],
			OrderedLeast: w.least, OrderedMost: w.most, AddsUp: !torn[currency],
		}
		differs := func(format string, args ...any) {
			balance.AddsUp = false
			r.Money = append(r.Money, Finding{What: currency + ": " + fmt.Sprintf(format, args...)})
		}
		if !w.holds(balance.Charged) {
			differs("the gateway charged %d; completed orders come to %d, open ones up to %d more",
				balance.Charged, w.least, w.most-w.least)
		}
		if r.Open == 0 && balance.Booked != balance.Charged {
			differs("the gateway charged %d, the payment service says %d", balance.Charged, balance.Booked)
		}
		r.Currencies = append(r.Currencies, balance)
	}
}
