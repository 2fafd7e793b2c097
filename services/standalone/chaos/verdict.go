package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"recourse.dev/services/audit"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// evidence is everything that a verdict is made of, read when all is quiet.
type evidence struct {
	sales []*sale
	// orders are all that the coordinator has.
	orders []coordinatorapi.OrderSummary
	audit  *audit.Report
	// gateway and carrier are the providers' ledgers, shipments says which order a label belongs to.
	gateway   []gatewaysim.Entry
	carrier   []carriersim.Entry
	shipments map[string]string
	// letters are the dead letters of all services.
	letters []coordinatorapi.DeadLetter
}

func (w *world) gather(ctx context.Context, sales []*sale) (*evidence, error) {
	e := &evidence{sales: sales, shipments: map[string]string{}}
	system := w.stack.System()
	var err error
	if e.audit, err = audit.Conservation(ctx, system); err != nil {
		return nil, err
	}
	if e.orders, err = pages(ctx, w, system.Coordinator+"/v1/orders?limit=200",
		func(p coordinatorapi.OrderPage) ([]coordinatorapi.OrderSummary, *string) {
			return p.Orders, p.NextCursor
		}); err != nil {
		return nil, err
	}
	if err := w.read(ctx, system.Gateway+"/admin/ledger", &e.gateway); err != nil {
		return nil, err
	}
	if err := w.read(ctx, system.Carrier+"/admin/ledger", &e.carrier); err != nil {
		return nil, err
	}
	shipments, err := pages(ctx, w, system.Shipping+"/v1/shipments?limit=200",
		func(p shippingapi.ShipmentPage) ([]shippingapi.ShipmentSummary, *string) {
			return p.Shipments, p.NextCursor
		})
	if err != nil {
		return nil, err
	}
	for _, s := range shipments {
		e.shipments[s.ShipmentID.String()] = s.OrderID.String()
	}
	for _, name := range services {
		letters, err := pages(ctx, w, w.stack.URL(name)+"/v1/dead-letters?limit=200",
			func(p coordinatorapi.DeadLetterPage) ([]coordinatorapi.DeadLetter, *string) {
				return p.DeadLetters, p.NextCursor
			})
		if err != nil {
			return nil, err
		}
		e.letters = append(e.letters, letters...)
	}
	return e, nil
}

func (w *world) read(ctx context.Context, where string, into any) error {
	status, text, err := w.get(ctx, where)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, text[:min(len(text), 500)])
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	return nil
}

func pages[P, T any](ctx context.Context, w *world, where string, open func(P) ([]T, *string)) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		var page P
		if err := w.read(ctx, where+cursor, &page); err != nil {
			return nil, err
		}
		list, next := open(page)
		all = append(all, list...)
		if next == nil || *next == "" {
			return all, nil
		}
		cursor = "&cursor=" + url.QueryEscape(*next)
	}
}

// judge fills the report.
func (e *evidence) judge(r *Report) {
	say := func(count *int, format string, args ...any) {
		*count++
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
	e.judgeOrders(r, say)
	e.judgeClaims(r, say)
	for _, list := range []struct {
		count    *int
		findings []audit.Finding
	}{
		{&r.Doubled, e.audit.Doubled},
		{&r.HeldAfterUndo, e.audit.HeldAfterUndo},
		// A completed order whose effects are not all there was claimed to be more than it is.
		{&r.FalseClaims, e.audit.Missing},
		{&r.Oversold, e.audit.Stock},
		{&r.MoneyDifferences, e.audit.Money},
	} {
		for _, f := range list.findings {
			say(list.count, "audit: %s", mustJSON(f))
		}
	}
	for _, l := range e.letters {
		if l.Key != nil && *l.Key == poisonKey {
			r.Sometimes["poison_parked"]++
			continue
		}
		say(&r.Parked, "parked (%s): %s[%d]@%d %s", l.Reason, l.Topic, l.Partition, l.Offset, l.Error)
	}
	r.ByStatus, r.Sagas = e.audit.ByStatus, len(e.orders)
}

// judgeOrders compares what the shops were promised with what the coordinator has.
func (e *evidence) judgeOrders(r *Report, say func(*int, string, ...any)) {
	byID, byReference := map[string]*coordinatorapi.OrderSummary{}, map[string]string{}
	for i := range e.orders {
		o := &e.orders[i]
		byID[o.ID.String()] = o
		if other, twice := byReference[o.Reference]; twice {
			say(&r.Doubled, "order %s has two sagas: %s and %s", o.Reference, other, o.ID)
		}
		byReference[o.Reference] = o.ID.String()
	}
	for _, s := range e.sales {
		if !s.malformed {
			delete(byReference, s.order.Reference)
		}
		if s.id == "" {
			if !s.malformed {
				say(&r.Lost, "order %s was never accepted", s.order.Reference)
			}
			continue
		}
		switch o := byID[s.id]; {
		case o == nil || s.lost:
			say(&r.Lost, "order %s (%s) was accepted and is not there", s.id, s.order.Reference)
		case o.EndedAt == nil || !s.ended:
			say(&r.Lost, "order %s (%s, %s) has not ended: %s", s.id, s.order.Reference, s.kind, o.Status)
		case o.Status != s.status():
			s.lie("%s at the end, %s before", o.Status, s.status())
		}
	}
	for reference, id := range byReference {
		say(&r.Doubled, "order %s (%s) was placed by nobody", id, reference)
	}
}

// judgeClaims compares what was claimed, and when, with the providers' ledgers: what was said to be there must have been
// there by then, and what was said to be gone, gone.
func (e *evidence) judgeClaims(r *Report, say func(*int, string, ...any)) {
	captured, freed := map[string]time.Time{}, map[string]time.Time{}
	latest := func(in map[string]time.Time, order string, at time.Time) {
		if at.After(in[order]) {
			in[order] = at
		}
	}
	for _, m := range e.gateway {
		switch m.Kind {
		case gatewaysim.Capture:
			latest(captured, m.OrderID, m.At)
		case gatewaysim.Void, gatewaysim.Expire, gatewaysim.GiveBack, gatewaysim.Authorize:
			latest(freed, m.OrderID, m.At)
		case gatewaysim.Release:
		}
	}
	labelled := map[string]time.Time{}
	for _, l := range e.carrier {
		order := e.shipments[l.Reference]
		latest(freed, order, l.At)
		if l.Kind == carriersim.LabelBought {
			latest(labelled, order, l.At)
		}
	}
	for _, s := range e.sales {
		s.keepsWord()
		for _, seen := range s.seen {
			// The ledger has milliseconds; what it says to have happened in the same one happened before.
			by := seen.at.Add(time.Millisecond)
			switch seen.status {
			case coordinatorapi.OrderStatusCompleted, coordinatorapi.OrderStatusConfirmed:
				if at, ok := captured[s.id]; !ok || at.After(by) {
					s.lie("%s was claimed at %s; the gateway captured at %s", seen.status, seen.at, at)
				}
				if at, ok := labelled[s.id]; !ok || at.After(by) {
					s.lie("%s was claimed at %s; the carrier sold the label at %s", seen.status, seen.at, at)
				}
			case coordinatorapi.OrderStatusCancelled:
				if at := freed[s.id]; at.After(by) {
					s.lie("cancelled was claimed at %s; the providers' last entry is of %s", seen.at, at)
				}
			default:
			}
		}
		if len(s.lies) > 0 {
			say(&r.FalseClaims, "order %s (%s, %s): %v", s.id, s.order.Reference, s.kind, s.lies)
		}
	}
}

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// missed lists what a run of that many faults had to meet and did not.
func (r *Report) missed() []string {
	faults := 0
	for _, n := range r.Faults {
		faults += n
	}
	if faults < mustFaults {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(musts), func(name string) bool { return r.Sometimes[name] > 0 })
}
