package audit

import (
	"maps"
	"slices"

	auditapi "recourse.dev/schemas/gen/api/audit"
)

// Finding is one difference and the order behind it, if there is one.
type Finding = auditapi.Finding

// Report is the result of an audit, as the API gives it.
type Report struct {
	auditapi.Report

	// ledger says that the gateway's ledger is read.
	ledger     bool
	skus       map[string]*auditapi.SKUBalance
	currencies map[string]*auditapi.CurrencyBalance
	// seen are the SKUs that the inventory has.
	seen map[string]bool
}

// maxFindings bounds each list: a service that lost its database differs in every order.
const maxFindings = 1000

func newReport(s System) *Report {
	r := &Report{
		ledger: s.Gateway != "", skus: map[string]*auditapi.SKUBalance{},
		currencies: map[string]*auditapi.CurrencyBalance{}, seen: map[string]bool{},
	}
	// Lists that are empty, and not null, in JSON.
	r.ByStatus, r.NotCompared = map[string]int{}, []auditapi.ReportNotCompared{}
	r.Doubled, r.HeldAfterUndo, r.Missing, r.Stock, r.Money = []Finding{}, []Finding{}, []Finding{}, []Finding{}, []Finding{}
	r.Skus, r.Currencies = []auditapi.SKUBalance{}, []auditapi.CurrencyBalance{}
	if s.Gateway == "" {
		r.NotCompared = append(r.NotCompared, auditapi.Gateway)
	}
	if s.Carrier == "" {
		r.NotCompared = append(r.NotCompared, auditapi.Carrier)
	}
	return r
}

// add puts a finding on one of the report's lists.
func (r *Report) add(list *[]Finding, f Finding) {
	if len(*list) == maxFindings {
		r.LeftOff++
		return
	}
	*list = append(*list, f)
}

// currency is the balance of a currency.
func (r *Report) currency(code string) *auditapi.CurrencyBalance {
	c := r.currencies[code]
	if c == nil {
		c = &auditapi.CurrencyBalance{Currency: code, AddsUp: true}
		if r.ledger {
			c.Charged = new(int64)
		}
		r.currencies[code] = c
	}
	return c
}

// sku is the balance of a SKU.
func (r *Report) sku(name string) *auditapi.SKUBalance {
	s := r.skus[name]
	if s == nil {
		s = &auditapi.SKUBalance{Sku: name, AddsUp: true}
		r.skus[name] = s
	}
	return s
}

// finish lists the balances. SKUs that orders name and the inventory does not have, because they were refused, are none.
func (r *Report) finish() {
	for _, name := range slices.Sorted(maps.Keys(r.skus)) {
		if r.seen[name] {
			r.Skus = append(r.Skus, *r.skus[name])
		}
	}
	for _, code := range slices.Sorted(maps.Keys(r.currencies)) {
		r.Currencies = append(r.Currencies, *r.currencies[code])
	}
	r.AddsUp = r.OK()
	r.skus, r.currencies, r.seen = nil, nil, nil
}

// OK says that everything adds up.
func (r *Report) OK() bool { return len(r.Findings()) == 0 }

// Findings lists every difference.
func (r *Report) Findings() []Finding {
	return slices.Concat(r.Doubled, r.HeldAfterUndo, r.Missing, r.Stock, r.Money)
}

// Shipped is the number of units that left, of all SKUs.
func (r *Report) Shipped() int64 {
	sum := int64(0)
	for i := range r.Skus {
		sum += r.Skus[i].Shipped
	}
	return sum
}
