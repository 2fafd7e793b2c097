package carriersim

import (
	"time"

	"recourse.dev/pkg/money"
)

// EntryKind is a movement of money.
type EntryKind string

const (
	// LabelBought charges a label to the shipper.
	LabelBought EntryKind = "label_bought"
	// LabelRefunded gives its price back.
	LabelRefunded EntryKind = "label_refunded"
)

// Entry is one movement of money.
type Entry struct {
	Seq          int64          `json:"seq"`
	At           time.Time      `json:"at"`
	Kind         EntryKind      `json:"kind"`
	Shipment     string         `json:"shipment"`
	Reference    string         `json:"reference"`
	TrackingCode string         `json:"tracking_code"`
	Amount       int64          `json:"amount"`
	Currency     money.Currency `json:"currency"`
}

// Sums are the movements of one currency.
type Sums struct {
	Currency money.Currency `json:"currency"`
	Bought   int64          `json:"bought"`
	Refunded int64          `json:"refunded"`
	// Spent is what labels have cost after refunds.
	Spent int64 `json:"spent"`
}

// Totals is the ledger added up.
type Totals struct {
	Shipments      int `json:"shipments"`
	LabelsBought   int `json:"labels_bought"`
	LabelsRefunded int `json:"labels_refunded"`
	LabelsLive     int `json:"labels_live"`
	// DoubledReferences counts references with more than one live label.
	DoubledReferences int    `json:"doubled_references"`
	Currencies        []Sums `json:"currencies"`
}

func totalsOf(entries []Entry) Totals {
	totals := Totals{Currencies: []Sums{}}
	live := map[string]int{}
	sums := map[money.Currency]int{}
	for _, entry := range entries {
		at, ok := sums[entry.Currency]
		if !ok {
			at = len(totals.Currencies)
			sums[entry.Currency] = at
			totals.Currencies = append(totals.Currencies, Sums{Currency: entry.Currency})
		}
		sum := &totals.Currencies[at]
		switch entry.Kind {
		case LabelBought:
			totals.LabelsBought++
			live[entry.Reference]++
			sum.Bought += entry.Amount
		case LabelRefunded:
			totals.LabelsRefunded++
			live[entry.Reference]--
			sum.Refunded += entry.Amount
		}
		sum.Spent = sum.Bought - sum.Refunded
	}
	totals.LabelsLive = totals.LabelsBought - totals.LabelsRefunded
	for _, labels := range live {
		if labels > 1 {
			totals.DoubledReferences++
		}
	}
	return totals
}
