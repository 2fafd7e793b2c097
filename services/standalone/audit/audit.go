package audit

import (
	"context"
	"fmt"
	"slices"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
)

// Finding is one difference and the order, SKU or currency behind it.
type Finding struct {
	// Order is empty for a difference that no single order explains.
	Order string `json:"order,omitempty"`
	What  string `json:"what"`
}

// Report is the result of an audit. Everything adds up when all lists are empty.
type Report struct {
	Orders   int            `json:"orders"`
	ByStatus map[string]int `json:"by_status"`
	// Open orders have not ended; what they hold is in flight.
	Open int `json:"open"`
	// Doubled: an effect that happened more than once for one order.
	Doubled []Finding `json:"doubled"`
	// HeldAfterUndo: an order that ended without completing and still holds something.
	HeldAfterUndo []Finding `json:"held_after_undo"`
	// Missing: a completed order whose effects are not all there.
	Missing []Finding `json:"missing"`
	Stock   []Finding `json:"stock"`
	Money   []Finding `json:"money"`
	// Captured per currency, by the gateway's ledger.
	Captured map[string]int64 `json:"captured"`
	// Shipped is the number of units that left, by the stock ledger.
	Shipped int64 `json:"shipped"`
	// LabelsLive, by the carrier's ledger.
	LabelsLive int `json:"labels_live"`
}

// OK says that everything adds up.
func (r *Report) OK() bool {
	return len(r.Doubled)+len(r.HeldAfterUndo)+len(r.Missing)+len(r.Stock)+len(r.Money) == 0
}

// Findings lists every difference.
func (r *Report) Findings() []Finding {
	return slices.Concat(r.Doubled, r.HeldAfterUndo, r.Missing, r.Stock, r.Money)
}

// Conservation reads the system's books and compares them.
func Conservation(ctx context.Context, s System) (*Report, error) {
	b, err := read(ctx, s)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Orders: len(b.orders), ByStatus: map[string]int{}, Captured: map[string]int64{},
		Doubled: []Finding{}, HeldAfterUndo: []Finding{}, Missing: []Finding{}, Stock: []Finding{}, Money: []Finding{},
	}
	world := b.world()
	for i := range b.orders {
		o := &b.orders[i]
		r.ByStatus[string(o.Status)]++
		w := world[o.ID.String()]
		if w == nil {
			w = &effects{}
		}
		w.known = true
		r.compare(o, w)
	}
	for id, w := range world {
		if !w.known {
			r.HeldAfterUndo = append(r.HeldAfterUndo, Finding{id, "effects of an order that the coordinator does not have"})
		}
	}
	r.compareStock(b)
	r.compareMoney(b)
	return r, nil
}

// effects is what the world says about one order.
type effects struct {
	known                            bool
	authorizations, captures, labels int
	authorized, captured, unblocked  int64
	refunded                         int64
	live                             int
	held                             int64 // units reserved
}

func (e *effects) blocked() int64 { return e.authorized - e.captured - e.unblocked }

func (b *books) world() map[string]*effects {
	out := map[string]*effects{}
	of := func(order string) *effects {
		if out[order] == nil {
			out[order] = &effects{}
		}
		return out[order]
	}
	for _, m := range b.gateway {
		e := of(m.OrderID)
		switch m.Kind {
		case gatewaysim.Authorize:
			e.authorizations++
			e.authorized += m.Amount
		case gatewaysim.Capture:
			e.captures++
			e.captured += m.Amount
		case gatewaysim.Release, gatewaysim.Void, gatewaysim.Expire:
			e.unblocked += m.Amount
		case gatewaysim.GiveBack:
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
		case carriersim.LabelBought:
			e.labels++
			e.live++
		case carriersim.LabelRefunded:
			e.live--
		}
	}
	for _, res := range b.reservations {
		for _, line := range res.Lines {
			of(res.OrderID.String()).held += line.Open
		}
	}
	return out
}

// compare holds one order's public status against the world.
func (r *Report) compare(o *coordinatorapi.Order, w *effects) {
	id := o.ID.String()
	say := func(list *[]Finding, format string, args ...any) {
		*list = append(*list, Finding{id, fmt.Sprintf("%s order: ", o.Status) + fmt.Sprintf(format, args...)})
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
	case coordinatorapi.OrderStatusCancelled:
		if net := w.captured - w.refunded; net != 0 || w.blocked() != 0 || w.live != 0 || w.held != 0 {
			say(&r.HeldAfterUndo, "charged %d, blocks %d, %d live labels, reserves %d", net, w.blocked(), w.live, w.held)
		}
	case coordinatorapi.OrderStatusClosed:
	default:
		r.Open++
	}
}

// span is what a sum may be while orders are open.
type span struct{ least, most int64 }

func (s span) holds(v int64) bool { return v >= s.least && v <= s.most }

func (r *Report) compareStock(b *books) {
	want := map[string]*span{}
	for i := range b.orders {
		o := &b.orders[i]
		for _, l := range o.Lines {
			if want[l.Sku] == nil {
				want[l.Sku] = &span{}
			}
			switch o.Status {
			case coordinatorapi.OrderStatusCompleted:
				want[l.Sku].least += l.Quantity
				want[l.Sku].most += l.Quantity
			case coordinatorapi.OrderStatusCancelled:
			default:
				want[l.Sku].most += l.Quantity
			}
		}
	}
	for _, t := range b.stock {
		r.Shipped += t.Ledger.Shipped
		if !t.Agree {
			r.Stock = append(r.Stock, Finding{"", fmt.Sprintf("%s: levels, ledger and reservations do not agree: %+v", t.Sku, t)})
		}
		w := want[t.Sku]
		if w == nil {
			w = &span{}
		}
		if !w.holds(t.Ledger.Shipped) {
			r.Stock = append(r.Stock, Finding{"", fmt.Sprintf("%s: %d units left the stock; completed orders have %d, open ones up to %d more",
				t.Sku, t.Ledger.Shipped, w.least, w.most-w.least)})
		}
		if reserve := w.most - w.least; t.Levels.Reserved > reserve {
			r.Stock = append(r.Stock, Finding{"", fmt.Sprintf("%s: %d units are reserved; open orders account for %d",
				t.Sku, t.Levels.Reserved, reserve)})
		}
	}
}

func (r *Report) compareMoney(b *books) {
	want := map[string]*span{}
	for i := range b.orders {
		o := &b.orders[i]
		if want[o.Currency] == nil {
			want[o.Currency] = &span{}
		}
		switch o.Status {
		case coordinatorapi.OrderStatusCompleted:
			want[o.Currency].least += o.TotalMinor
			want[o.Currency].most += o.TotalMinor
		case coordinatorapi.OrderStatusCancelled:
		default:
			want[o.Currency].most += o.TotalMinor
		}
	}
	for _, m := range b.gateway {
		switch m.Kind {
		case gatewaysim.Capture:
			r.Captured[string(m.Currency)] += m.Amount
		case gatewaysim.GiveBack:
			r.Captured[string(m.Currency)] -= m.Amount
		default:
		}
	}
	ours := map[string]int64{}
	for _, c := range b.payments.Currencies {
		ours[c.Currency] = c.Intents.Captured - c.Intents.Refunded
		if c.Intents != c.Journal {
			r.Money = append(r.Money, Finding{"", fmt.Sprintf("%s: intents %+v and journal %+v differ", c.Currency, c.Intents, c.Journal)})
		}
	}
	for currency, w := range want {
		if !w.holds(r.Captured[currency]) {
			r.Money = append(r.Money, Finding{"", fmt.Sprintf("%s: the gateway charged %d; completed orders come to %d, open ones up to %d more",
				currency, r.Captured[currency], w.least, w.most-w.least)})
		}
		if r.Open == 0 && ours[currency] != r.Captured[currency] {
			r.Money = append(r.Money, Finding{"", fmt.Sprintf("%s: the gateway charged %d, the payment service says %d",
				currency, r.Captured[currency], ours[currency])})
		}
	}
	for _, l := range b.carrier {
		if l.Kind == carriersim.LabelBought {
			r.LabelsLive++
		} else {
			r.LabelsLive--
		}
	}
}
