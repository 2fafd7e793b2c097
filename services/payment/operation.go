package payment

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Kind is what an operation asks of the provider.
type Kind string

const (
	// KindAuthorize blocks an amount on the customer's payment method.
	KindAuthorize Kind = "authorize"
	// KindCapture charges what was blocked.
	KindCapture Kind = "capture"
	// KindVoid releases what was blocked.
	KindVoid Kind = "void"
)

// OperationState is how much is known about an operation.
type OperationState string

const (
	// OperationRequested is written down and not sent yet.
	OperationRequested OperationState = "requested"
	// OperationSent may be on its way: its attempt was written before the call and no outcome since.
	OperationSent OperationState = "sent"
	// OperationUnknown was sent, and its answer was lost. It is probed until the provider tells.
	OperationUnknown OperationState = "unknown"
	// OperationManual is still unknown after the provider has forgotten the idempotency key: it is probed, never sent
	// again, and a person should look.
	OperationManual OperationState = "manual"
	// OperationSucceeded is proven done.
	OperationSucceeded OperationState = "succeeded"
	// OperationFailed is proven not done, and will never be under this key.
	OperationFailed OperationState = "failed"
)

// OperationStates lists all states; the database's CHECK has the same list.
func OperationStates() []OperationState {
	return []OperationState{
		OperationRequested, OperationSent, OperationUnknown, OperationManual, OperationSucceeded, OperationFailed,
	}
}

// FailureClass says whose matter a failure is.
type FailureClass string

const (
	// FailureDeclined is the bank's no to this customer.
	FailureDeclined FailureClass = "declined"
	// FailureInvalid is a payment method that cannot be used at all.
	FailureInvalid FailureClass = "invalid"
	// FailureConfig is ours: credentials or an account that is not set up.
	FailureConfig FailureClass = "config"
	// FailureExpired is an authorization that ran out.
	FailureExpired FailureClass = "expired"
	// FailureBug is a request that should never have been made.
	FailureBug FailureClass = "bug"
)

// Refusal codes as the order's saga and the shop see them.
const (
	CodeCardDeclined         = "card_declined"
	CodeInsufficientFunds    = "insufficient_funds"
	CodeInvalidPaymentMethod = "invalid_payment_method"
	CodeInvalidAmount        = "invalid_amount"
	CodeAlreadyAuthorized    = "already_authorized"
	CodeAuthorizationExpired = "authorization_expired"
	CodeAmountMismatch       = "amount_mismatch"
	CodeNotAuthorized        = "not_authorized"
	CodeAlreadyCaptured      = "already_captured"
	CodeProviderRejected     = "provider_rejected"
)

// namespace makes operation ids from idempotency keys, so that every attempt of an effect, on whatever worker, means
// the same operation without asking the database.
var namespace = uuid.MustParse("6f1d3c52-7c0e-5d1b-9a57-3d1f0c0b6a11")

// OperationKey is the idempotency key of the nth operation of a kind under one effect key. The first needs no number;
// a further one exists only after the one before has provably failed, because the provider replays a saved failure to
// whoever repeats its key.
func OperationKey(effectKey string, kind Kind, n int) string {
	if n <= 1 {
		return fmt.Sprintf("%s/%s", effectKey, kind)
	}
	return fmt.Sprintf("%s/%s/%d", effectKey, kind, n)
}

// OperationID is the id of the operation with an idempotency key.
func OperationID(key string) uuid.UUID {
	return uuid.NewSHA1(namespace, []byte(key))
}

// requestHash identifies what is asked under a key: the same key with another hash is a bug, never a repeat.
func requestHash(intentID uuid.UUID, r Request) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s\n%s",
		r.Kind, intentID, r.Amount.Minor, r.Amount.Currency, r.PaymentToken))
	return sum[:]
}

// Policy is what a provider promises about time.
type Policy struct {
	// Visibility is how long the provider may take to show the effect of a request that it has received.
	Visibility time.Duration
	// KeyLife is how long the provider remembers an idempotency key. It is set shorter than the promise, so that a
	// slow clock or a slow network never sends a key that has just been forgotten.
	KeyLife time.Duration
}

// MaySendAgain says whether a request first sent at sentAt, of whose effect the provider knew nothing at asOf, may be
// sent again under the same key: not before the effect had time to show, and never when the key may be forgotten,
// because it would then be a second request and not a repeat.
func (p Policy) MaySendAgain(sentAt, asOf time.Time) bool {
	age := asOf.Sub(sentAt)
	return age >= p.Visibility && age < p.KeyLife
}

// Undecided is the state of an operation first sent at sentAt whose outcome is not known at now.
func (p Policy) Undecided(sentAt, now time.Time) OperationState {
	if now.Sub(sentAt) >= p.KeyLife {
		return OperationManual
	}
	return OperationUnknown
}
