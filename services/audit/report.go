package audit

import (
	"slices"
	"time"
)

// Finding is one difference and the order behind it.
type Finding struct {
	// Order is empty for a difference that no single order explains.
	Order string `json:"order,omitempty"`
	What  string `json:"what"`
}

// SKUBalance is the stock of one SKU, in units.
type SKUBalance struct {
	SKU string `json:"sku"`
	// In is what came in and was corrected: received, returned, adjusted and transferred.
	In int64 `json:"in"`
	// Shipped is what left, by the stock ledger.
	Shipped int64 `json:"shipped"`
	// OrderedLeast and OrderedMost bound what should have left: completed orders, and with the open ones.
	OrderedLeast int64 `json:"ordered_least"`
	OrderedMost  int64 `json:"ordered_most"`
	Reserved     int64 `json:"reserved"`
	OnHand       int64 `json:"on_hand"`
	AddsUp       bool  `json:"adds_up"`
}

// CurrencyBalance is the money of one currency, in minor units.
type CurrencyBalance struct {
	Currency string `json:"currency"`
	// Charged is captured less refunded, by the gateway's own ledger; Booked the same by the payment service.
	Charged int64 `json:"charged"`
	Booked  int64 `json:"booked"`
	// OrderedLeast and OrderedMost bound what should have been charged: completed orders, and with the open ones.
	OrderedLeast int64 `json:"ordered_least"`
	OrderedMost  int64 `json:"ordered_most"`
	AddsUp       bool  `json:"adds_up"`
}

// Report is the result of an audit. Everything adds up when all lists of findings are empty.
type Report struct {
	// CheckedAt is when the reading began; Seconds is how long it took.
	CheckedAt time.Time      `json:"checked_at"`
	Seconds   float64        `json:"seconds"`
	Orders    int            `json:"orders"`
	ByStatus  map[string]int `json:"by_status"`
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

	SKUs       []SKUBalance      `json:"skus"`
	Currencies []CurrencyBalance `json:"currencies"`
	// LabelsLive, by the carrier's ledger.
	LabelsLive int `json:"labels_live"`
}

// OK says that everything adds up.
func (r *Report) OK() bool { return len(r.Findings()) == 0 }

// Findings lists every difference.
func (r *Report) Findings() []Finding {
	return slices.Concat(r.Doubled, r.HeldAfterUndo, r.Missing, r.Stock, r.Money)
}

// Shipped is the number of units that left, by the stock ledger.
func (r *Report) Shipped() int64 {
	sum := int64(0)
	for _, s := range r.SKUs {
		sum += s.Shipped
	}
	return sum
}
