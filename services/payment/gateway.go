package payment

import (
	"context"
	"time"

	"github.com/google/uuid"

	"recourse.dev/pkg/money"
)

// Gateway is the port to a payment provider. An adapter makes every request of one operation under keys derived from
// Request.Key, so that a repeat is a repeat for the provider too, and it alone may say Refused.
type Gateway interface {
	// Name is how the provider is called in the intents it holds.
	Name() string
	// Calls lists the requests that Do is going to make, in order: they are written down before the first is sent.
	Calls(r Request) []Call
	// Do asks for the effect.
	Do(ctx context.Context, r Request) Answer
	// Probe asks whether the effect is there, and changes nothing.
	Probe(ctx context.Context, r Request) Answer
}

// Request is an operation as the provider is to see it. Two attempts of one operation differ at most in IntentRef,
// which an authorization learns on the way.
type Request struct {
	Kind        Kind
	OperationID uuid.UUID
	OrderID     uuid.UUID
	Key         string
	// IntentRef is the provider's name of the intent; empty for an authorization that has none yet.
	IntentRef    string
	Amount       money.Money
	PaymentToken string
}

// Answer is what came of a call, and every exchange made on the way to it.
type Answer struct {
	Outcome   Outcome
	Exchanges []Exchange
}

// Outcome is what is known after asking.
//
//sumtype:decl
type Outcome interface{ outcome() }

// Succeeded: the effect is there, and Ref is the proof.
type Succeeded struct {
	// Ref is the provider's name of what was done: a charge, or the intent itself.
	Ref string
	// IntentRef is the provider's name of the intent.
	IntentRef string
	// CaptureBefore is when an authorization runs out; zero when the provider does not say.
	CaptureBefore time.Time
}

// Refused: the effect is not there and will never be under this key.
type Refused struct {
	Class  FailureClass
	Code   string
	Detail string
	// IntentRef is the provider's name of the intent, where one was left behind.
	IntentRef string
}

// Unknown: nothing can be said. The effect may be there, may come, or may never come.
type Unknown struct {
	Reason Doubt
	Detail string
}

// NotFound, of a probe: the provider knows nothing of the effect. That is no refusal: the request may still be on its
// way, or may never have been sent.
type NotFound struct {
	// IntentRef is the provider's name of the intent, where there is one to go on with.
	IntentRef string
}

func (Succeeded) outcome() {}
func (Refused) outcome()   {}
func (Unknown) outcome()   {}
func (NotFound) outcome()  {}

// Doubt is why an outcome is not known.
type Doubt string

const (
	// DoubtNoAnswer is a timeout, a reset, or an answer that cannot be read.
	DoubtNoAnswer Doubt = "no_answer"
	// DoubtProviderError is the provider's own failure: a 5xx says nothing about the effect.
	DoubtProviderError Doubt = "provider_error"
	// DoubtBusy is a provider that asks to come back: too many requests, or the key is being worked on.
	DoubtBusy Doubt = "busy"
	// DoubtConfig is credentials or an account that the provider does not accept. It is an alarm, not a refusal: the
	// order is not at fault, and goes on once the setting is mended.
	DoubtConfig Doubt = "config"
	// DoubtMismatch is an answer that contradicts what was asked, for example another amount. A person should look.
	DoubtMismatch Doubt = "mismatch"
	// DoubtNotVisible is a probe that found nothing while the request may still be on its way.
	DoubtNotVisible Doubt = "not_visible"
	// DoubtKeyForgotten is a probe that found nothing after the provider may have forgotten the key.
	DoubtKeyForgotten Doubt = "key_forgotten"
)

// Call names one request of the provider's API.
type Call string

// The requests.
const (
	CallCreate  Call = "create"
	CallConfirm Call = "confirm"
	CallCapture Call = "capture"
	CallCancel  Call = "cancel"
	CallGet     Call = "get"
	CallList    Call = "list"
)

// ExchangeOutcome is how one exchange ended, as far as the network is concerned.
type ExchangeOutcome string

const (
	// ExchangeResponse is an answer, whatever it says.
	ExchangeResponse ExchangeOutcome = "response"
	// ExchangeTimeout is no answer in time.
	ExchangeTimeout ExchangeOutcome = "timeout"
	// ExchangeReset is a connection lost after the request may have been sent.
	ExchangeReset ExchangeOutcome = "reset"
	// ExchangeCancelled is a call given up because this process is stopping.
	ExchangeCancelled ExchangeOutcome = "cancelled"
	// ExchangeNotSent is a request that provably never left.
	ExchangeNotSent ExchangeOutcome = "not_sent"
)

// Exchange is one request and what came back; it becomes a row in attempt.
type Exchange struct {
	Call        Call
	SentAt      time.Time
	EndedAt     time.Time
	Outcome     ExchangeOutcome
	HTTPStatus  int
	RequestID   string
	ErrorType   string
	ErrorCode   string
	DeclineCode string
}
