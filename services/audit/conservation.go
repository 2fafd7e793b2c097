package audit

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// Conservation reads the system's books and compares them, for all orders.
func Conservation(ctx context.Context, s System) (*Report, error) {
	return Since(ctx, s, time.Time{})
}

// Since reads and compares the books of the orders that came since an instant; zero is all.
//
// It works while orders come and end, a page of orders at a time. The orders of a page are read first: what one that
// has ended by then did and undid is all in the books read afterwards, and the others are open, whatever becomes of
// them meanwhile. Nothing of a page is kept but sums.
func Since(ctx context.Context, s System, since time.Time) (*Report, error) {
	begin := time.Now()
	a := &audit{system: s, report: newReport(s), tracked: map[string]bool{}}
	if !since.IsZero() {
		a.first = firstID(since)
		in := since.UTC()
		a.report.Since = &in
	}
	for _, pass := range []func(context.Context) error{a.orders, a.labels, a.stock} {
		if err := pass(ctx); err != nil {
			return nil, err
		}
	}
	r := a.report
	r.finish()
	r.CheckedAt, r.Seconds = begin.UTC(), time.Since(begin).Seconds()
	return r, nil
}

// firstID is below every UUIDv7 of an instant and later.
func firstID(t time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, t.UnixMilli()))<<16)
	return id.String()
}

// audit is one audit under way.
type audit struct {
	system System
	report *Report
	// first is a name below which nothing is looked at; empty is none.
	first string
	// tracked remembers which SKUs have stock at all, of those that it was asked about.
	tracked map[string]bool
}

// effects is what the books say about one order.
type effects struct {
	payments     []paymentapi.BookEntry
	shipments    []shippingapi.BookEntry
	reservations []inventoryapi.BookEntry
	gateway      []movement
}

// orders compares all orders, page by page. Orders that come meanwhile are met at the end.
func (a *audit) orders(ctx context.Context) error {
	for s := (span{after: a.first}); ; s.after = s.upto {
		var page coordinatorapi.BookPage
		s.upto = ""
		if err := get(ctx, a.system.Coordinator+"/v1/books?"+s.query("after_order", "").Encode(), &page); err != nil {
			return err
		}
		if page.NextAfter != nil {
			s.upto = page.NextAfter.String()
		}
		world, err := a.world(ctx, s)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			o := &page.Entries[i]
			e := world[o.OrderID.String()]
			delete(world, o.OrderID.String())
			if e == nil {
				e = &effects{}
			}
			if err := a.order(ctx, o, e); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(world)) {
			// It came after the page was read, or its commit did.
			late, err := exists(ctx, a.system.Coordinator+"/v1/orders/", id)
			if err != nil {
				return err
			}
			if !late {
				a.report.stranger(id, world[id])
			}
		}
		if page.NextAfter == nil {
			return nil
		}
	}
}

// world reads what the other books say about the orders of a span.
func (a *audit) world(ctx context.Context, s span) (map[string]*effects, error) {
	var (
		payments     []paymentapi.BookEntry
		shipments    []shippingapi.BookEntry
		reservations []inventoryapi.BookEntry
		gateway      []movement
	)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		payments, err = books(ctx, a.system.Payment, s,
			func(p paymentapi.BookPage) ([]paymentapi.BookEntry, *uuid.UUID) { return p.Entries, p.NextAfter })
		return err
	})
	g.Go(func() (err error) {
		shipments, err = books(ctx, a.system.Shipping, s,
			func(p shippingapi.BookPage) ([]shippingapi.BookEntry, *uuid.UUID) { return p.Entries, p.NextAfter })
		return err
	})
	g.Go(func() (err error) {
		reservations, err = books(ctx, a.system.Inventory, s,
			func(p inventoryapi.BookPage) ([]inventoryapi.BookEntry, *uuid.UUID) { return p.Entries, p.NextAfter })
		return err
	})
	if a.system.Gateway != "" {
		g.Go(func() (err error) {
			gateway, err = ledger[movement](ctx, a.system.Gateway, s)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := map[string]*effects{}
	of := func(order string) *effects {
		if out[order] == nil {
			out[order] = &effects{}
		}
		return out[order]
	}
	for _, p := range payments {
		e := of(p.OrderID.String())
		e.payments = append(e.payments, p)
	}
	for _, sh := range shipments {
		e := of(sh.OrderID.String())
		e.shipments = append(e.shipments, sh)
	}
	for _, r := range reservations {
		e := of(r.OrderID.String())
		e.reservations = append(e.reservations, r)
	}
	for _, m := range gateway {
		e := of(m.OrderID)
		e.gateway = append(e.gateway, m)
	}
	return out, nil
}
