package gatewaysim

import (
	"slices"
	"time"

	"recourse.dev/pkg/money"
)

// EntryKind is a movement of money.
type EntryKind string

const (
	// Authorize blocks an amount on the customer's payment method.
	Authorize EntryKind = "authorize"
	// Capture charges an amount that was blocked.
	Capture EntryKind = "capture"
	// Release unblocks what a capture left over.
	Release EntryKind = "release"
	// Void unblocks an amount because the intent was canceled.
	Void EntryKind = "void"
	// Expire unblocks an amount because nobody captured it in time.
	Expire EntryKind = "expire"
	// GiveBack returns a captured amount.
	GiveBack EntryKind = "refund"
)

// Entry is one movement of money.
type Entry struct {
	Seq            int64          `json:"seq"`
	At             time.Time      `json:"at"`
	Kind           EntryKind      `json:"kind"`
	Intent         string         `json:"intent"`
	Refund         string         `json:"refund,omitempty"`
	OrderID        string         `json:"order_id"`
	OperationID    string         `json:"operation_id"`
	IdempotencyKey string         `json:"idempotency_key"`
	Amount         int64          `json:"amount"`
	Currency       money.Currency `json:"currency"`
}

// Sums are the movements of one currency.
type Sums struct {
	Currency   money.Currency `json:"currency"`
	Authorized int64          `json:"authorized"`
	Captured   int64          `json:"captured"`
	Voided     int64          `json:"voided"`
	Released   int64          `json:"released"`
	Expired    int64          `json:"expired"`
	Refunded   int64          `json:"refunded"`
	// Held is what is blocked right now.
	Held int64 `json:"held"`
}

// Totals is the ledger added up.
type Totals struct {
	Intents    map[Status]int `json:"intents"`
	Currencies []Sums         `json:"currencies"`
}

// Of is the sums of one currency, zero if it never moved.
func (t Totals) Of(currency money.Currency) Sums {
	at := slices.IndexFunc(t.Currencies, func(s Sums) bool { return s.Currency == currency })
	if at < 0 {
		return Sums{Currency: currency}
	}
	return t.Currencies[at]
}

func (s *Sums) add(entry Entry) {
	switch entry.Kind {
	case Authorize:
		s.Authorized += entry.Amount
		s.Held += entry.Amount
	case Capture:
		s.Captured += entry.Amount
		s.Held -= entry.Amount
	case Release:
		s.Released += entry.Amount
		s.Held -= entry.Amount
	case Void:
		s.Voided += entry.Amount
		s.Held -= entry.Amount
	case Expire:
		s.Expired += entry.Amount
		s.Held -= entry.Amount
	case GiveBack:
		s.Refunded += entry.Amount
	}
}
