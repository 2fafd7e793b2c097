package audit

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"

	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// label is an entry of the carrier's ledger.
type label struct {
	Kind      string `json:"kind"`
	Reference string `json:"reference"` // our shipment id
}

// The kinds of labels' entries.
const (
	labelBought   = "label_bought"
	labelRefunded = "label_refunded"
)

// labels holds every shipment against the carrier's own ledger, if that is read. Shipments are listed newest first, and
// the ledger is asked about those of a page after the page was read, so that what a settled shipment says is in it.
func (a *audit) labels(ctx context.Context) error {
	if a.system.Carrier == "" {
		return nil
	}
	// kept is the last shipment of a page: the span of the next one ends with it.
	var kept []shippingapi.ShipmentSummary
	s, cursor := span{}, ""
	for {
		var page shippingapi.ShipmentPage
		if err := get(ctx, a.system.Shipping+"/v1/shipments?limit=200"+cursor, &page); err != nil {
			return err
		}
		list := append(kept, page.Shipments...)
		s.after = a.first
		last := page.NextCursor == nil || list[len(list)-1].ShipmentID.String() <= a.first
		if !last {
			kept = []shippingapi.ShipmentSummary{list[len(list)-1]}
			s.after = kept[0].ShipmentID.String()
		}
		if err := a.parcels(ctx, s, list); err != nil || last {
			return err
		}
		s.upto, cursor = s.after, "&cursor="+url.QueryEscape(*page.NextCursor)
	}
}

// bought is what the carrier's ledger says about one shipment.
type bought struct{ ever, live int }

// parcels compares the shipments of a span.
func (a *audit) parcels(ctx context.Context, s span, list []shippingapi.ShipmentSummary) error {
	entries, err := ledger[label](ctx, a.system.Carrier, s)
	if err != nil {
		return err
	}
	at := map[string]bought{}
	for _, l := range entries {
		b := at[l.Reference]
		switch l.Kind {
		case labelBought:
			b.ever++
			b.live++
		case labelRefunded:
			b.live--
		}
		at[l.Reference] = b
	}
	for i := range list {
		id := list[i].ShipmentID.String()
		if id <= s.after {
			continue
		}
		if err := a.parcel(ctx, &list[i], at[id]); err != nil {
			return err
		}
		delete(at, id)
	}
	for _, id := range slices.Sorted(maps.Keys(at)) {
		late, err := exists(ctx, a.system.Shipping+"/v1/shipments/", id)
		if err != nil {
			return err
		}
		if !late {
			a.report.add(&a.report.HeldAfterUndo, Finding{
				Order: "shipment " + id, What: "labels at the carrier of a shipment that the shipping service does not have",
			})
		}
	}
	return nil
}

// parcel compares one shipment. One that is being bought or voided may have a label or none.
func (a *audit) parcel(ctx context.Context, sh *shippingapi.ShipmentSummary, at bought) error {
	r := a.report
	say := func(list *[]Finding, format string, args ...any) {
		r.add(list, Finding{Order: sh.OrderID.String(), What: fmt.Sprintf("shipment %s: ", sh.ShipmentID) + fmt.Sprintf(format, args...)})
	}
	if at.ever > 1 {
		say(&r.Doubled, "%d labels bought", at.ever)
	}
	var (
		list *[]Finding
		want int
	)
	switch sh.State {
	case shippingapi.ShipmentStateLabelled:
		list, want = &r.Missing, 1
	case shippingapi.ShipmentStateCancelled, shippingapi.ShipmentStateRefused:
		list = &r.HeldAfterUndo
	default:
		return nil
	}
	if at.live == want {
		return nil
	}
	// It may have been voided after the page was read.
	var now shippingapi.Shipment
	if err := get(ctx, a.system.Shipping+"/v1/shipments/"+sh.ShipmentID.String(), &now); err != nil {
		return err
	}
	if now.State == sh.State {
		say(list, "the carrier has %d live labels, and the shipping service says %s", at.live, sh.State)
	}
	return nil
}
