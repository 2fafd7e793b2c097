package shipping

import (
	"context"

	"recourse.dev/pkg/money"
)

// Carrier is the port to whoever delivers parcels. Every method is one question over the network and says what is
// known after it; an implementation never guesses.
//
// A booking costs nothing; its label does. Asking twice for the label of one booking must never buy two: that is what
// every way out of an unknown outcome rests on, so an adapter whose carrier cannot promise it must look first.
type Carrier interface {
	// Create makes a booking under our reference. Succeeded carries it, without a label.
	Create(ctx context.Context, p Parcel) Outcome
	// Find looks for bookings under our reference. Succeeded carries the one with a label if there is one, else the
	// oldest; NotFound says that there was none when asked. It never says Refused.
	Find(ctx context.Context, reference string) Outcome
	// Get reads one booking again. Succeeded carries it as it stands. It never says Refused.
	Get(ctx context.Context, ref string) Outcome
	// Buy buys the label of the booking. Succeeded carries the booking with its label, also when it was bought before.
	Buy(ctx context.Context, b Booking) Outcome
	// Void takes the label back. Succeeded says that it is void, also when it was before; Refused that it stays live.
	Void(ctx context.Context, ref string) Outcome
}

// Parcel is what shall be delivered.
type Parcel struct {
	// Reference is ours, equal in every attempt.
	Reference string
	Name      string
	Street1   string
	Street2   string
	City      string
	Region    string
	Zip       string
	Country   string
	Phone     string
	Email     string
	WeightG   int64
	Items     []item
}

// Booking is a shipment as the carrier knows it.
type Booking struct {
	// Ref is the carrier's id.
	Ref string
	// RateID is the cheapest offer for the label, until it is bought.
	RateID string
	// Label is nil until it is bought.
	Label *BoughtLabel
	// Void is what became of the wish to take the label back; empty when nobody asked.
	Void VoidState
}

// BoughtLabel is the proof that the label exists.
type BoughtLabel struct {
	// ID is the carrier's id of the label.
	ID       string
	Carrier  string
	Tracking string
	Cost     money.Money
}

// VoidState is what a carrier says about taking a label back.
type VoidState string

const (
	// VoidNotAsked means that nobody asked, as far as the carrier knows.
	VoidNotAsked VoidState = ""
	// VoidSubmitted means that the carrier is thinking about it; it may take days.
	VoidSubmitted VoidState = "submitted"
	// VoidRefunded means that the label is void.
	VoidRefunded VoidState = "refunded"
	// VoidRejected means that the label stays live.
	VoidRejected VoidState = "rejected"
)

// Outcome is what is known after a question. Its members are Succeeded, Refused, Unknown and NotFound.
//
//sumtype:decl
type Outcome interface{ outcome() }

// Succeeded carries the proof.
type Succeeded struct{ Booking Booking }

// Refused says that it did not happen and will not: only the adapter may say so, because only it knows which of the
// carrier's answers mean that.
type Refused struct {
	Class  FailureClass
	Code   string
	Detail string
}

// Unknown says that nothing can be concluded. It is never a failure.
type Unknown struct {
	// NotSent is true when no connection came about, so that nothing can have happened.
	NotSent bool
	Detail  string
}

// NotFound says that the carrier knows nothing of it, which may still be on its way.
type NotFound struct{}

func (Succeeded) outcome() {}
func (Refused) outcome()   {}
func (Unknown) outcome()   {}
func (NotFound) outcome()  {}

// FailureClass says whose turn it is after a refusal.
type FailureClass string

const (
	// Declined is the carrier's decision: address, weight, area.
	Declined FailureClass = "declined"
	// Invalid means that the request was wrong; the adapter or the data behind it needs a mend.
	Invalid FailureClass = "invalid"
	// WrongState means that what was asked for is not possible any more, such as voiding a label that travels.
	WrongState FailureClass = "state"
)

// FailureClasses lists every class.
func FailureClasses() []FailureClass { return []FailureClass{Declined, Invalid, WrongState} }
