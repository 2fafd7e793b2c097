package order

import (
	"slices"
	"time"

	"recourse.dev/coordinator/saga"
)

// Timing holds the waits of the shipped definitions. They are not part of a
// definition's hash: an operator may change them while sagas run.
type Timing struct {
	// Deadline is how long an order may take to reach the point of no return.
	Deadline time.Duration
	// Answer is the least wait for an answer from a participant that works on
	// its own database; Outside for one that calls a provider.
	Answer, Outside time.Duration
	// Max caps the growing part of the waits.
	Max time.Duration
	// GiveUp is the number of sends after which a step is given up or shown to an operator.
	GiveUp uint32
}

// DefaultTiming is what production starts from.
var DefaultTiming = Timing{
	Deadline: 15 * time.Minute,
	Answer:   5 * time.Second,
	Outside:  30 * time.Second,
	Max:      time.Minute,
	GiveUp:   6,
}

// Definitions lists every definition that a saga may run on. New orders take the
// first. One that orders have begun with stays in the list, unchanged: open ones
// go on with it, and ended ones are explained by it.
func Definitions(t Timing) ([]*saga.Definition, error) {
	var list []*saga.Definition
	for _, build := range []func(Timing) (*saga.Definition, error){Fulfilment} {
		d, err := build(t)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// Participants lists everybody who is asked by any of the definitions.
func Participants(list []*saga.Definition) []string {
	var names []string
	for _, d := range list {
		for _, step := range d.Steps() {
			names = append(names, step.Participant)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Fulfilment takes an order from acceptance to a parcel that is paid for. New
// orders take this one.
//
// Money is captured last among the things that can be refused, so that whatever
// fails before it costs the customer nothing.
func Fulfilment(t Timing) (*saga.Definition, error) {
	inside := saga.Retry{First: t.Answer, Max: t.Max, GiveUp: t.GiveUp}
	outside := saga.Retry{First: t.Outside, Max: t.Max, GiveUp: t.GiveUp}
	return saga.Define("order.fulfilment", 1, t.Deadline,
		saga.Stage{{
			Name: "reserve_stock", Participant: "inventory", Kind: saga.Compensatable,
			Do: "recourse.inventory.v1.ReserveStock", Undo: "recourse.inventory.v1.ReleaseStock",
			Effect: "stock", Claim: "stock_reserved", Unclaim: "stock_released", Retry: inside,
		}},
		saga.Stage{{
			Name: "authorize_payment", Participant: "payment", Kind: saga.Compensatable, Outside: true,
			Do: "recourse.payment.v1.AuthorizePayment", Undo: "recourse.payment.v1.VoidAuthorization",
			Effect: "authorization", Claim: "payment_authorized", Unclaim: "payment_released", Retry: outside,
		}},
		saga.Stage{{
			Name: "create_shipment", Participant: "shipping", Kind: saga.Compensatable, Outside: true,
			Do: "recourse.shipping.v1.CreateShipment", Undo: "recourse.shipping.v1.CancelShipment",
			Effect: "label", Claim: "shipment_booked", Unclaim: "shipment_cancelled", Retry: outside,
		}},
		saga.Stage{{
			Name: "capture_payment", Participant: "payment", Kind: saga.Pivot, Outside: true,
			Do:     "recourse.payment.v1.CapturePayment",
			Effect: "capture", Consumes: "authorize_payment", Claim: "payment_captured", Retry: outside,
		}},
		saga.Stage{{
			Name: "commit_stock", Participant: "inventory", Kind: saga.Retriable,
			Do:     "recourse.inventory.v1.CommitStock",
			Effect: "stock", Consumes: "reserve_stock", Claim: "stock_committed", Retry: inside,
		}},
		saga.Stage{{
			Name: "send_confirmation", Participant: "notification", Kind: saga.Retriable, Optional: true, Outside: true,
			Do:     "recourse.notification.v1.SendConfirmation",
			Effect: "mail", Claim: "confirmation_sent", Retry: outside,
		}},
	)
}
