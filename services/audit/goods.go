package audit

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"

	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// goods compares what an order reserved and what left for it, and every reservation with its movements.
func (a *audit) goods(ctx context.Context, v verdict, e *effects) error {
	r := a.report
	wrong := func(list *[]Finding, sku, format string, args ...any) {
		r.sku(sku).AddsUp = false
		v.say(list, format, args...)
	}
	held, shipped := int64(0), map[string]int64{}
	for _, reservation := range e.reservations {
		for _, s := range reservation.Skus {
			r.sku(s.Sku).Shipped += s.Shipped
			held += s.Open
			shipped[s.Sku] += s.Shipped
			if s.Open != s.LedgerOpen || s.Shipped != s.LedgerShipped {
				wrong(&r.Stock, s.Sku, "reservation %s of %s says %d shipped and %d reserved, and its movements %d and %d",
					reservation.ReservationID, s.Sku, s.Shipped, s.Open, s.LedgerShipped, s.LedgerOpen)
			}
		}
	}
	if !v.completed() && !v.undone() {
		return nil
	}
	if held != 0 {
		v.say(&r.HeldAfterUndo, "still reserves %d", held)
	}
	should := map[string]int64{}
	if v.completed() {
		for _, l := range v.order.Lines {
			should[l.Sku] += l.Quantity
		}
	}
	for sku := range shipped {
		should[sku] += 0 // so that the loop below meets what left and was not ordered too
	}
	for _, sku := range slices.Sorted(maps.Keys(should)) {
		if should[sku] == shipped[sku] {
			continue
		}
		if shipped[sku] == 0 {
			tracked, err := a.hasStock(ctx, sku)
			if err != nil {
				return err
			}
			if !tracked {
				r.sku(sku).Shipped += should[sku]
				continue
			}
		}
		wrong(&r.Stock, sku, "%d units of %s left the stock, not %d", shipped[sku], sku, should[sku])
	}
	return nil
}

// hasStock is false for what is sold without stock, such as a gift card.
func (a *audit) hasStock(ctx context.Context, sku string) (bool, error) {
	if tracked, ok := a.tracked[sku]; ok {
		return tracked, nil
	}
	var item inventoryapi.ItemWithLevels
	err := get(ctx, a.system.Inventory+"/v1/items/"+url.PathEscape(sku), &item)
	if isMissing(err) {
		item.Item.Tracked, err = true, nil // so that what was sold and is not in the catalogue is a difference
	}
	if err != nil {
		return false, err
	}
	a.tracked[sku] = item.Item.Tracked
	return item.Item.Tracked, nil
}

// stock holds the stock levels against the ledger and the reservations, each SKU at one instant.
func (a *audit) stock(ctx context.Context) error {
	cursor := ""
	for {
		var page inventoryapi.TotalPage
		if err := get(ctx, a.system.Inventory+"/v1/totals?limit=200"+cursor, &page); err != nil {
			return err
		}
		for i := range page.Totals {
			a.report.level(&page.Totals[i])
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = "&cursor=" + url.QueryEscape(*page.NextCursor)
	}
}

// level takes in what the inventory says about a SKU of these orders, or about one whose books are torn.
func (r *Report) level(t *inventoryapi.Total) {
	torn := !t.Agree || t.Levels.OnHand != t.Ledger.OnHand || t.Levels.Reserved != t.Ledger.Reserved ||
		t.Levels.Reserved != t.Reservations.Held+t.Reservations.Committed || t.Ledger.Shipped != t.Reservations.Shipped
	if r.skus[t.Sku] == nil && !torn {
		return
	}
	s := r.sku(t.Sku)
	s.In = t.Ledger.Received + t.Ledger.Returned + t.Ledger.Adjusted + t.Ledger.Transferred
	s.Reserved, s.OnHand = t.Levels.Reserved, t.Levels.OnHand
	if torn && s.AddsUp { // else an order explains it
		s.AddsUp = false
		r.add(&r.Stock, Finding{What: fmt.Sprintf("%s: levels, ledger and reservations do not agree, and none of the orders looked at "+
			"explains it: levels %+v, ledger %+v, reservations %+v", t.Sku, t.Levels, t.Ledger, t.Reservations)})
	}
	r.seen[t.Sku] = true
}
