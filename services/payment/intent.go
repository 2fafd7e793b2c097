package payment

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"recourse.dev/pkg/money"
)

// IntentState is where a promise of money stands.
type IntentState string

const (
	// IntentCreated is written down and nothing was asked of the provider yet.
	IntentCreated IntentState = "created"
	// IntentAuthorizing has an authorization that was sent or is in doubt.
	IntentAuthorizing IntentState = "authorizing"
	// IntentRequiresAction waits for the customer at the provider.
	IntentRequiresAction IntentState = "requires_action"
	// IntentAuthorized has its amount blocked.
	IntentAuthorized IntentState = "authorized"
	// IntentCapturing has a capture that was sent or is in doubt; its headroom is taken.
	IntentCapturing IntentState = "capturing"
	// IntentCaptured has been charged.
	IntentCaptured IntentState = "captured"
	// IntentVoiding has a void that was sent or is in doubt.
	IntentVoiding IntentState = "voiding"
	// IntentVoided has given its block back.
	IntentVoided IntentState = "voided"
	// IntentDeclined never held anything.
	IntentDeclined IntentState = "declined"
	// IntentAuthExpired lost its block to the provider's time limit.
	IntentAuthExpired IntentState = "auth_expired"
	// IntentClosed was ended by an operator.
	IntentClosed IntentState = "closed"
)

// IntentStates lists all states; the database's CHECK has the same list.
func IntentStates() []IntentState {
	return []IntentState{
		IntentCreated, IntentAuthorizing, IntentRequiresAction, IntentAuthorized, IntentCapturing, IntentCaptured,
		IntentVoiding, IntentVoided, IntentDeclined, IntentAuthExpired, IntentClosed,
	}
}

// Intent is one promise of a customer's money for one order, as the rules below need it.
type Intent struct {
	ID             uuid.UUID
	OrderID        uuid.UUID
	State          IntentState
	Amount         money.Money
	Authorized     int64
	Captured       int64
	CapturePending int64
	Voided         int64
	Expired        int64
	GatewayRef     string
	PaymentToken   string
	// FailedVoids counts the voids that the provider refused; the next one needs a key of its own.
	FailedVoids int
}

// Headroom is what is still blocked and neither charged, given back nor promised to an operation in flight.
func (i Intent) Headroom() int64 {
	return i.Authorized - i.Captured - i.CapturePending - i.Voided - i.Expired
}

// Live says whether the intent may still hold or take money; an order has one such intent at most.
func (i Intent) Live() bool {
	switch i.State {
	case IntentDeclined, IntentVoided, IntentAuthExpired, IntentClosed:
		return false
	case IntentCreated, IntentAuthorizing, IntentRequiresAction, IntentAuthorized, IntentCapturing, IntentCaptured,
		IntentVoiding:
	}
	return true
}

// request is what the provider is asked for about this intent.
func (i Intent) request(kind Kind, key string, minor int64) Request {
	return Request{
		Kind: kind, OperationID: OperationID(key), OrderID: i.OrderID, Key: key, IntentRef: i.GatewayRef,
		Amount: money.Money{Minor: minor, Currency: i.Amount.Currency}, PaymentToken: i.PaymentToken,
	}
}

// Refusal is a no that follows from what is recorded, without asking the provider.
type Refusal struct {
	Code   string
	Detail string
}

// BeginCapture takes the headroom for charging amount, or says why it cannot be charged. A capture is all or nothing:
// whatever a provider does not charge with the first capture it releases.
func (i *Intent) BeginCapture(amount money.Money) *Refusal {
	switch {
	case i.State == IntentAuthExpired:
		return &Refusal{CodeAuthorizationExpired, fmt.Sprintf("the authorization of intent %s ran out", i.ID)}
	case i.State == IntentCaptured, i.State == IntentCapturing:
		return &Refusal{CodeAlreadyCaptured, fmt.Sprintf("intent %s is %s by another command", i.ID, i.State)}
	case i.State != IntentAuthorized:
		return &Refusal{CodeNotAuthorized, fmt.Sprintf("intent %s is %s", i.ID, i.State)}
	case amount.Currency != i.Amount.Currency || amount.Minor != i.Headroom():
		return &Refusal{CodeAmountMismatch, fmt.Sprintf("asked to capture %s, authorized is %s",
			amount, money.Money{Minor: i.Headroom(), Currency: i.Amount.Currency})}
	}
	i.CapturePending += amount.Minor
	i.State = IntentCapturing
	return nil
}

// VoidVerdict is what is to be done about a wish to void.
type VoidVerdict string

const (
	// VoidCall asks the provider.
	VoidCall VoidVerdict = "call"
	// VoidNothing is for an intent that provably holds nothing.
	VoidNothing VoidVerdict = "nothing"
	// VoidLater is for an intent with another operation in flight.
	VoidLater VoidVerdict = "later"
	// VoidTooLate is for an intent that has been charged: only a refund gives that back.
	VoidTooLate VoidVerdict = "too_late"
)

// BeginVoid marks the intent as being given back, where that is possible.
func (i *Intent) BeginVoid() VoidVerdict {
	switch i.State {
	case IntentAuthorized:
		i.State = IntentVoiding
		return VoidCall
	case IntentDeclined, IntentVoided, IntentAuthExpired, IntentClosed:
		return VoidNothing
	case IntentCaptured:
		return VoidTooLate
	case IntentCreated, IntentAuthorizing, IntentRequiresAction, IntentCapturing, IntentVoiding:
		return VoidLater
	}
	return VoidLater
}

// JournalKind names a movement of money in the journal.
type JournalKind string

// The movements.
const (
	JournalAuthorize JournalKind = "authorize"
	JournalCapture   JournalKind = "capture"
	JournalVoid      JournalKind = "void"
	JournalExpire    JournalKind = "expire"
)

// Account is one side of a movement. Balances say: customer_hold, what is blocked; merchant_receivable, what was
// charged and is owed to the shop; customer_funds, minus both.
type Account string

// The accounts.
const (
	AccountCustomerFunds      Account = "customer_funds"
	AccountCustomerHold       Account = "customer_hold"
	AccountMerchantReceivable Account = "merchant_receivable"
)

// accounts says from where to where each movement goes.
var accounts = map[JournalKind]struct{ from, to Account }{
	JournalAuthorize: {AccountCustomerFunds, AccountCustomerHold},
	JournalCapture:   {AccountCustomerHold, AccountMerchantReceivable},
	JournalVoid:      {AccountCustomerHold, AccountCustomerFunds},
	JournalExpire:    {AccountCustomerHold, AccountCustomerFunds},
}

// Settlement is what an operation's known outcome does to its intent: the next state, changes of the amounts, and the
// movement in the journal.
type Settlement struct {
	State          IntentState
	Authorized     int64
	Captured       int64
	CapturePending int64
	Voided         int64
	Expired        int64
	GatewayRef     string
	CaptureBefore  time.Time
	Journal        JournalKind
}

// Entry is one half of a movement.
type Entry struct {
	Account Account
	Amount  int64
}

// Entries are the two halves of the settlement's movement of an amount; none where nothing moves.
func (s Settlement) Entries(amount int64) []Entry {
	between, ok := accounts[s.Journal]
	if !ok {
		return nil
	}
	return []Entry{{between.from, -amount}, {between.to, amount}}
}

// Settle is the table of all settlements. An outcome that is not known settles nothing: the headroom stays taken.
//
//	operation   succeeded                       refused as expired           refused otherwise
//	authorize   authorized, amount blocked      declined                     declined
//	capture     captured, headroom given back   auth_expired, block gone     authorized, headroom given back
//	void        voided, block gone              auth_expired, block gone     authorized
func Settle(kind Kind, amount int64, outcome Outcome) (Settlement, bool) {
	switch o := outcome.(type) {
	case Succeeded:
		switch kind {
		case KindAuthorize:
			return Settlement{
				State: IntentAuthorized, Authorized: amount, Journal: JournalAuthorize,
				GatewayRef: o.IntentRef, CaptureBefore: o.CaptureBefore,
			}, true
		case KindCapture:
			return Settlement{
				State: IntentCaptured, Captured: amount, CapturePending: -amount, Journal: JournalCapture,
			}, true
		case KindVoid:
			return Settlement{State: IntentVoided, Voided: amount, Journal: JournalVoid}, true
		}
	case Refused:
		switch {
		case kind == KindAuthorize:
			return Settlement{State: IntentDeclined, GatewayRef: o.IntentRef}, true
		case kind == KindCapture && o.Class == FailureExpired:
			return Settlement{
				State: IntentAuthExpired, CapturePending: -amount, Expired: amount, Journal: JournalExpire,
			}, true
		case kind == KindCapture:
			return Settlement{State: IntentAuthorized, CapturePending: -amount}, true
		case kind == KindVoid && o.Class == FailureExpired:
			return Settlement{State: IntentAuthExpired, Expired: amount, Journal: JournalExpire}, true
		case kind == KindVoid:
			return Settlement{State: IntentAuthorized}, true
		}
	case Unknown, NotFound:
	}
	return Settlement{}, false
}
