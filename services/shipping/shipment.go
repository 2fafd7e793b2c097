package shipping

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"

	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
)

// This file is pure: no clock, no context, no database.

// State is what is known about a shipment. The texts stand in the CHECK of the table.
type State string

const (
	// LabelRequested means that the label is being bought.
	LabelRequested State = "label_requested"
	// LabelUnknown means that the carrier was asked for the label and its answer is missing.
	LabelUnknown State = "label_unknown"
	// Labelled means that exactly one label is bought.
	Labelled State = "labelled"
	// RefusedShipment means that the carrier, or a rule here, said no: there is no label and there will be none.
	RefusedShipment State = "refused"
	// Cancelling means that the label is being voided.
	Cancelling State = "cancelling"
	// CancelRejected means that the carrier would not void the label: it is still live and paid for.
	CancelRejected State = "cancel_rejected"
	// Cancelled means that the label is proven void.
	Cancelled State = "cancelled"
)

// States lists every state of a shipment.
func States() []State {
	return []State{LabelRequested, LabelUnknown, Labelled, RefusedShipment, Cancelling, CancelRejected, Cancelled}
}

// LabelState is what is known about a label.
type LabelState string

const (
	// LabelAsked means that the label is being bought.
	LabelAsked LabelState = "requested"
	// LabelInDoubt means that the answer to its purchase is missing.
	LabelInDoubt LabelState = "unknown"
	// LabelPurchased means that it is bought.
	LabelPurchased LabelState = "purchased"
	// LabelRefused means that it was not and will not be bought.
	LabelRefused LabelState = "refused"
	// LabelVoidRequested means that the carrier is being asked to void it.
	LabelVoidRequested LabelState = "void_requested"
	// LabelVoidRejected means that the carrier would not void it.
	LabelVoidRejected LabelState = "void_rejected"
	// LabelVoided means that it is void.
	LabelVoided LabelState = "voided"
)

// LabelStates lists every state of a label.
func LabelStates() []LabelState {
	return []LabelState{
		LabelAsked, LabelInDoubt, LabelPurchased, LabelRefused, LabelVoidRequested, LabelVoidRejected, LabelVoided,
	}
}

// OperationKind is what is wanted of the carrier.
type OperationKind string

const (
	// Buy asks for a label.
	Buy OperationKind = "buy"
	// Void asks to take it back.
	Void OperationKind = "void"
)

// OperationState is what is known about an operation.
type OperationState string

const (
	// OperationRequested means that it shall be sent, or was sent and is not overdue.
	OperationRequested OperationState = "requested"
	// OperationUnknown means that it was sent and the answer is missing.
	OperationUnknown OperationState = "unknown"
	// OperationSucceeded means that the carrier proved it.
	OperationSucceeded OperationState = "succeeded"
	// OperationFailed means that the carrier refused it.
	OperationFailed OperationState = "failed"
)

// OperationStates lists every state of an operation.
func OperationStates() []OperationState {
	return []OperationState{OperationRequested, OperationUnknown, OperationSucceeded, OperationFailed}
}

// AttemptOutcome is how one request to the carrier ended. A request without one may have been carried out.
type AttemptOutcome string

const (
	// AttemptAnswered means that the carrier answered in a way that proves something.
	AttemptAnswered AttemptOutcome = "answered"
	// AttemptNotSent means that no connection came about: nothing can have happened.
	AttemptNotSent AttemptOutcome = "not_sent"
	// AttemptUnanswered means that it was sent and no usable answer came.
	AttemptUnanswered AttemptOutcome = "unanswered"
)

// AttemptOutcomes lists every outcome of a request.
func AttemptOutcomes() []AttemptOutcome {
	return []AttemptOutcome{AttemptAnswered, AttemptNotSent, AttemptUnanswered}
}

// finding is the bare kind of a carrier's Outcome: what the settlement table is keyed by.
type finding string

const (
	foundSucceeded finding = "succeeded"
	foundRefused   finding = "refused"
	foundUnknown   finding = "unknown"
)

// settlement is what the three rows of a shipment become.
type settlement struct {
	Operation OperationState
	Label     LabelState
	Shipment  State
}

// settlements answers every pair of kind and finding exactly once; a test holds it to that.
var settlements = map[OperationKind]map[finding]settlement{
	Buy: {
		foundSucceeded: {OperationSucceeded, LabelPurchased, Labelled},
		foundRefused:   {OperationFailed, LabelRefused, RefusedShipment},
		foundUnknown:   {OperationUnknown, LabelInDoubt, LabelUnknown},
	},
	Void: {
		foundSucceeded: {OperationSucceeded, LabelVoided, Cancelled},
		foundRefused:   {OperationFailed, LabelVoidRejected, CancelRejected},
		foundUnknown:   {OperationUnknown, LabelVoidRequested, Cancelling},
	},
}

// Codes of refusals; they are part of the contract of the step.
const (
	CodeAddressNotServed = "address_not_served"
	CodeAddressInvalid   = "address_invalid"
	CodeWeightLimit      = "weight_limit"
	CodeItemsInvalid     = "items_invalid"
	CodeAlreadyShipped   = "already_shipped"
	CodeCarrierRefused   = "carrier_refused"
	CodeVoidRejected     = "void_rejected"
)

// ShipmentID derives the id of the shipment of an effect key. It is the reference given to the carrier, so it must be
// the same after a crash without asking the database: a UUID of version 8 with the time of the saga's UUIDv7 in
// front, so that ids still lie in the order of time, and a hash of the key behind it.
func ShipmentID(saga uuid.UUID, effectKey string) uuid.UUID {
	sum := sha256.Sum256([]byte("shipment\x00" + effectKey))
	var id uuid.UUID
	copy(id[:6], saga[:6])
	copy(id[6:], sum[:10])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// plan is a shipment as it is about to be asked for.
type plan struct {
	ShipmentID uuid.UUID
	OrderID    uuid.UUID
	SagaID     uuid.UUID
	Step       string
	Generation int
	Reference  string
	ShipTo     *orderv1.Address
	Items      []item
	WeightG    int64
}

// item is what lies in the package, one row for each line of the order.
type item struct {
	LineID   string
	SKU      string
	Quantity int64
}

// checkAddress says why no carrier could deliver there; empty is fine. What passes may still be refused by the
// carrier, who knows the world better.
func checkAddress(a *orderv1.Address) string {
	if a == nil {
		return "the order has no shipping address"
	}
	for _, field := range []struct{ name, value string }{
		{"name", a.GetName()},
		{"lines/0", firstLine(a)},
		{"city", a.GetCity()},
		{"postal_code", a.GetPostalCode()},
	} {
		if strings.TrimSpace(field.value) == "" {
			return "ship_to/" + field.name + " is empty"
		}
	}
	if c := a.GetCountry(); len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z' {
		return fmt.Sprintf("ship_to/country %q is not an ISO 3166-1 alpha-2 code", c)
	}
	return ""
}

func firstLine(a *orderv1.Address) string {
	if len(a.GetLines()) == 0 {
		return ""
	}
	return a.GetLines()[0]
}

// pack turns the items of a command into one package. It says why it cannot; empty is fine.
func pack(items []*shippingv1.ShipmentItem, unitWeightG int64) ([]item, int64, string) {
	if len(items) == 0 {
		return nil, 0, "there is nothing to ship"
	}
	packed := make([]item, 0, len(items))
	lines := make(map[string]bool, len(items))
	var units int64
	for _, it := range items {
		switch {
		case it.GetQuantity() <= 0:
			return nil, 0, fmt.Sprintf("line %q: quantity %d is not positive", it.GetLineId(), it.GetQuantity())
		case it.GetSku() == "":
			return nil, 0, fmt.Sprintf("line %q has no sku", it.GetLineId())
		case lines[it.GetLineId()]:
			return nil, 0, fmt.Sprintf("line %q stands there twice", it.GetLineId())
		case it.GetQuantity() > math.MaxInt64/unitWeightG-units:
			return nil, 0, fmt.Sprintf("line %q: quantity %d is too large", it.GetLineId(), it.GetQuantity())
		}
		lines[it.GetLineId()] = true
		units += it.GetQuantity()
		packed = append(packed, item{LineID: it.GetLineId(), SKU: it.GetSku(), Quantity: it.GetQuantity()})
	}
	return packed, units * unitWeightG, ""
}

// plainText makes text that PostgreSQL can store out of anything: a zero byte in a name, or bytes in an answer that are
// no UTF-8, must not stop a batch.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// weightOunces is the carrier's unit, rounded up to a tenth.
func weightOunces(grams int64) float64 {
	return math.Ceil(float64(grams)/28.349523125*10) / 10
}

// newID is a UUIDv7 for rows that nobody outside refers to.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
