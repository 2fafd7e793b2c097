package gatewaysim

import (
	"maps"
	"time"
)

// Status is where a payment intent stands.
type Status string

const (
	// RequiresPaymentMethod has no payment method, or its last one was declined.
	RequiresPaymentMethod Status = "requires_payment_method"
	// RequiresConfirmation has a payment method and blocks nothing yet.
	RequiresConfirmation Status = "requires_confirmation"
	// RequiresCapture holds an authorization: the amount is blocked.
	RequiresCapture Status = "requires_capture"
	// Succeeded was captured; what was not captured is released.
	Succeeded Status = "succeeded"
	// Canceled was voided or has expired.
	Canceled Status = "canceled"
)

// reasonExpired is the cancellation reason of an authorization that nobody captured in time.
const reasonExpired = "automatic"

// Intent is a payment as callers see it and as the ledger file keeps it. A value is never changed once it is shared.
type Intent struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	Amount             int64             `json:"amount"`
	Currency           string            `json:"currency"`
	CaptureMethod      string            `json:"capture_method"`
	Status             Status            `json:"status"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	AmountRefunded     int64             `json:"amount_refunded"`
	PaymentMethod      *string           `json:"payment_method"`
	Metadata           map[string]string `json:"metadata"`
	Created            int64             `json:"created"`
	LatestCharge       *string           `json:"latest_charge"`
	CaptureBefore      *int64            `json:"capture_before"`
	CanceledAt         *int64            `json:"canceled_at"`
	CancellationReason *string           `json:"cancellation_reason"`
	LastPaymentError   *Error            `json:"last_payment_error"`
}

// Refund gives captured money back.
type Refund struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Currency      string            `json:"currency"`
	PaymentIntent string            `json:"payment_intent"`
	Status        string            `json:"status"`
	Reason        *string           `json:"reason"`
	Metadata      map[string]string `json:"metadata"`
	Created       int64             `json:"created"`
}

// outcome is what an operation does to an intent: the intent after it (nil if it is unchanged), the money it moved,
// and the refusal if there is one. A refusal may change the intent too, as a declined confirm does.
type outcome struct {
	after   *Intent
	moves   []move
	refund  *Refund
	refusal *Error
}

type move struct {
	kind   EntryKind
	amount int64
}

// confirm blocks the amount on the payment method, unless the gateway declines with the given error.
func (i Intent) confirm(token string, declined *Error, now time.Time, captureWithin time.Duration) outcome {
	if i.Status != RequiresConfirmation && i.Status != RequiresPaymentMethod {
		return outcome{refusal: unexpectedState(i, "confirm")}
	}
	i.PaymentMethod = &token
	if declined != nil {
		i.Status, i.LastPaymentError = RequiresPaymentMethod, declined
		return outcome{after: &i, refusal: declined.about(i)}
	}
	charge, before := newID("ch"), now.Add(captureWithin).Unix()
	i.Status, i.AmountCapturable, i.LastPaymentError = RequiresCapture, i.Amount, nil
	i.LatestCharge, i.CaptureBefore = &charge, &before
	return outcome{after: &i, moves: []move{{Authorize, i.Amount}}}
}

// capture charges the amount and releases the rest of the authorization.
func (i Intent) capture(amount int64, declined *Error) outcome {
	switch {
	case i.expired():
		return outcome{refusal: expiredForCapture(i)}
	case i.Status != RequiresCapture:
		return outcome{refusal: unexpectedState(i, "capture")}
	case amount > i.AmountCapturable:
		return outcome{refusal: tooLarge(i, amount, i.AmountCapturable)}
	case declined != nil:
		return outcome{refusal: declined.about(i)}
	}
	moves := []move{{Capture, amount}}
	if rest := i.AmountCapturable - amount; rest > 0 {
		moves = append(moves, move{Release, rest})
	}
	i.Status, i.AmountReceived, i.AmountCapturable = Succeeded, amount, 0
	return outcome{after: &i, moves: moves}
}

// cancel gives up the intent and releases what it blocks.
func (i Intent) cancel(reason string, now time.Time) outcome {
	if i.Status == Succeeded || i.Status == Canceled {
		return outcome{refusal: unexpectedState(i, "cancel")}
	}
	return i.end(Void, reason, now)
}

// expire ends an authorization that was not captured in time.
func (i Intent) expire(now time.Time) outcome {
	return i.end(Expire, reasonExpired, now)
}

func (i Intent) end(kind EntryKind, reason string, now time.Time) outcome {
	var moves []move
	if i.AmountCapturable > 0 {
		moves = []move{{kind, i.AmountCapturable}}
	}
	at := now.Unix()
	i.Status, i.AmountCapturable, i.CanceledAt, i.CancellationReason = Canceled, 0, &at, nil
	if reason != "" {
		i.CancellationReason = &reason
	}
	return outcome{after: &i, moves: moves}
}

// giveBack refunds an amount; 0 means all that is left.
func (i Intent) giveBack(amount int64, reason *string, metadata map[string]string, now time.Time) outcome {
	left := i.AmountReceived - i.AmountRefunded
	switch {
	case i.Status != Succeeded:
		return outcome{refusal: unexpectedState(i, "refund")}
	case left == 0:
		return outcome{refusal: alreadyRefunded(i)}
	case amount > left:
		return outcome{refusal: tooLarge(i, amount, left)}
	case amount == 0:
		amount = left
	}
	i.AmountRefunded += amount
	return outcome{after: &i, moves: []move{{GiveBack, amount}}, refund: &Refund{
		ID: newID("re"), Object: "refund", Amount: amount, Currency: i.Currency, PaymentIntent: i.ID,
		Status: "succeeded", Reason: reason, Metadata: metadata, Created: now.Unix(),
	}}
}

// due reports whether the authorization's time is over and nobody has written it down yet.
func (i Intent) due(now time.Time) bool {
	return i.Status == RequiresCapture && now.Unix() >= *i.CaptureBefore
}

func (i Intent) expired() bool {
	return i.Status == Canceled && i.CancellationReason != nil && *i.CancellationReason == reasonExpired
}

func (i Intent) token() string {
	if i.PaymentMethod == nil {
		return ""
	}
	return *i.PaymentMethod
}

// withMetadata merges, as the provider does: a new map, because the old one may be shared.
func (i Intent) withMetadata(more map[string]string) Intent {
	if len(more) > 0 {
		merged := maps.Clone(i.Metadata)
		maps.Copy(merged, more)
		i.Metadata = merged
	}
	return i
}
