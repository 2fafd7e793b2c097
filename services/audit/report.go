package audit

import (
	"slices"

	auditapi "recourse.dev/schemas/gen/api/audit"
)

// Finding is one difference and the order behind it, if a single one explains it.
type Finding = auditapi.Finding

// Report is the result of an audit, as the API gives it.
type Report struct{ auditapi.Report }

func newReport() *Report {
	return &Report{auditapi.Report{
		ByStatus: map[string]int{},
		// Lists that are empty, and not null, in JSON.
		Doubled: []Finding{}, HeldAfterUndo: []Finding{}, Missing: []Finding{}, Stock: []Finding{}, Money: []Finding{},
		Skus: []auditapi.SKUBalance{}, Currencies: []auditapi.CurrencyBalance{},
	}}
}

// OK says that everything adds up.
func (r *Report) OK() bool { return len(r.Findings()) == 0 }

// Findings lists every difference.
func (r *Report) Findings() []Finding {
	return slices.Concat(r.Doubled, r.HeldAfterUndo, r.Missing, r.Stock, r.Money)
}

// Shipped is the number of units that left, of all SKUs, by the stock ledger.
func (r *Report) Shipped() int64 {
	sum := int64(0)
	for i := range r.Skus {
		sum += r.Skus[i].Shipped
	}
	return sum
}
