package notification

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// This file is pure: no clock, no context, no database.

// State is what is known about a notification. The texts stand in the CHECK of the table.
type State string

const (
	// Queued means that it will be tried, or tried again: the mail server has not had it.
	Queued State = "queued"
	// InDoubt means that it was handed over once and the answer was lost; one more try follows.
	InDoubt State = "in_doubt"
	// Sent means that the mail server took it.
	Sent State = "sent"
	// Suppressed means that the order was no longer confirmed when it was due.
	Suppressed State = "suppressed"
	// Bounced means that the mail server refused it for good.
	Bounced State = "bounced"
	// Undeliverable means that it could not be handed over for too long.
	Undeliverable State = "undeliverable"
	// UnknownDelivery means that the answers of two tries were lost: it may have arrived, and nobody can tell.
	UnknownDelivery State = "unknown"
)

// States lists every state.
func States() []State {
	return []State{Queued, InDoubt, Sent, Suppressed, Bounced, Undeliverable, UnknownDelivery}
}

// Codes of refusals; they are part of the contract of the step.
const (
	CodeAddressInvalid  = "address_invalid"
	CodeContentInvalid  = "content_invalid"
	CodeSuppressed      = "suppressed"
	CodeBounced         = "bounced"
	CodeUndeliverable   = "undeliverable"
	CodeDeliveryUnknown = "delivery_unknown"
)

// ClaimStatus is what the orders events topic last said of an order.
type ClaimStatus string

const (
	// ClaimAccepted means that the order is being worked on.
	ClaimAccepted ClaimStatus = "accepted"
	// ClaimConfirmed means that the order can only go forward.
	ClaimConfirmed ClaimStatus = "confirmed"
	// ClaimCompleted means that every effect is there.
	ClaimCompleted ClaimStatus = "completed"
	// ClaimCancelling means that the order is being undone.
	ClaimCancelling ClaimStatus = "cancelling"
	// ClaimCancelled means that every effect is gone.
	ClaimCancelled ClaimStatus = "cancelled"
	// ClaimClosed means that an operator ended the order with what it still held.
	ClaimClosed ClaimStatus = "closed"
)

// ClaimStatuses lists every status in the order in which an order can come to them: of two that one write of the saga
// brought about, the later one counts.
func ClaimStatuses() []ClaimStatus {
	return []ClaimStatus{
		ClaimAccepted, ClaimConfirmed, ClaimCompleted, ClaimCancelling, ClaimCancelled, ClaimClosed,
	}
}

// claim is what an event says about an order.
type claim struct {
	OrderID  uuid.UUID
	Status   ClaimStatus
	Revision int64
}

// newer says whether c is a later word than the one before.
func newer(c, before claim) bool {
	rank := func(s ClaimStatus) int { return slices.Index(ClaimStatuses(), s) }
	return cmp.Or(cmp.Compare(c.Revision, before.Revision), cmp.Compare(rank(c.Status), rank(before.Status))) > 0
}

// overStatuses are those under which "your order is confirmed" would be a lie. An order that no event has told of yet
// is as confirmed as the command says.
func overStatuses() []ClaimStatus { return []ClaimStatus{ClaimCancelling, ClaimCancelled, ClaimClosed} }

// maxLostAnswers is how often a mail may be handed over without an answer. The second time it carries the same
// Message-ID, so that a receiver can drop it; after that a third mail is worse than none.
const maxLostAnswers = 2

// AttemptOutcome is how one try ended. A try without one may have been delivered.
type AttemptOutcome string

const (
	// AttemptAccepted means that the mail server took the mail.
	AttemptAccepted AttemptOutcome = "accepted"
	// AttemptRefused means that it said no for good.
	AttemptRefused AttemptOutcome = "refused"
	// AttemptNotSent means that the mail was not handed over, or refused for now.
	AttemptNotSent AttemptOutcome = "not_sent"
	// AttemptUnknown means that it was handed over and the answer was lost.
	AttemptUnknown AttemptOutcome = "unknown"
)

// AttemptOutcomes lists every outcome of a try.
func AttemptOutcomes() []AttemptOutcome {
	return []AttemptOutcome{AttemptAccepted, AttemptRefused, AttemptNotSent, AttemptUnknown}
}

// finding is what became of the wish to send: the outcome of a try, or why there was none.
type finding string

const (
	foundAccepted   finding = "accepted"
	foundRefused    finding = "refused"
	foundNotSent    finding = "not_sent"
	foundTooOld     finding = "too_old"
	foundUnknown    finding = "unknown"
	foundSuppressed finding = "suppressed"
	foundSpent      finding = "spent"
)

func findings() []finding {
	return []finding{
		foundAccepted, foundRefused, foundNotSent, foundTooOld, foundUnknown, foundSuppressed, foundSpent,
	}
}

// nexts says what a notification becomes. Lost tells the tries before this one whose answer was lost: once there was
// one, nothing but an accepted mail is certain.
var nexts = map[finding]struct{ fresh, lost State }{
	//                 no answer lost before  one lost before
	foundAccepted:   {Sent, Sent},
	foundRefused:    {Bounced, UnknownDelivery},
	foundNotSent:    {Queued, InDoubt},
	foundTooOld:     {Undeliverable, UnknownDelivery},
	foundUnknown:    {InDoubt, UnknownDelivery},
	foundSuppressed: {Suppressed, UnknownDelivery},
	foundSpent:      {UnknownDelivery, UnknownDelivery},
}

func next(f finding, lostBefore int) State {
	if lostBefore > 0 {
		return nexts[f].lost
	}
	return nexts[f].fresh
}

// refusalCode is the code under which a final state is answered; empty for one that is not a refusal.
func refusalCode(s State) string {
	switch s {
	case Suppressed:
		return CodeSuppressed
	case Bounced:
		return CodeBounced
	case Undeliverable:
		return CodeUndeliverable
	case UnknownDelivery:
		return CodeDeliveryUnknown
	case Queued, InDoubt, Sent:
	}
	return ""
}

// NotificationID derives the id of the notification of an effect key. It is in the Message-ID, so it must be the same
// after a crash without asking the database: a UUID of version 8 with the time of the saga's UUIDv7 in front, so that
// ids still lie in the order of time, and a hash of the key behind it.
func NotificationID(saga uuid.UUID, effectKey string) uuid.UUID {
	sum := sha256.Sum256([]byte("notification\x00" + effectKey))
	var id uuid.UUID
	copy(id[:6], saga[:6])
	copy(id[6:], sum[:10])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// MessageID is the Message-ID header of every try, without its angle brackets.
func MessageID(id uuid.UUID, domain string) string { return id.String() + "@" + domain }

// templateConfirmation is the key of the template that SendConfirmation uses.
const templateConfirmation = "order_confirmation"

// dedupeKey names what is said to whom for which occasion. Of each there is one notification that is not proven to have
// stayed here.
func dedupeKey(order uuid.UUID, template string, occurrence int) string {
	return fmt.Sprintf("%s:%s:%d", order, template, occurrence)
}

// checkEmail says why nothing can be sent to an address; empty is fine.
func checkEmail(address string) string {
	const maxAddress, maxLocal = 254, 64 // RFC 5321
	parsed, err := mail.ParseAddress(address)
	switch {
	case address == "":
		return "the order has no e-mail address"
	case err != nil:
		return fmt.Sprintf("%q is no e-mail address: %v", address, err)
	case parsed.Address != address:
		return fmt.Sprintf("%q is more than an e-mail address", address)
	case len(address) > maxAddress || strings.LastIndexByte(address, '@') > maxLocal:
		return fmt.Sprintf("%q is longer than an e-mail address can be", address)
	case strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Sprintf("%q has control characters in it", address)
	}
	return ""
}

// pickLocale is the best of the locales that a template has: the language of the BCP 47 tag, else English.
func pickLocale(tag string, have func(locale string) bool) (string, bool) {
	language, _, _ := strings.Cut(strings.ReplaceAll(tag, "_", "-"), "-")
	for _, locale := range []string{strings.ToLower(language), "en"} {
		if have(locale) {
			return locale, true
		}
	}
	return "", false
}

// tooOld says whether a mail that the server has never had is given up.
func tooOld(created, now time.Time, giveUpAfter time.Duration) bool {
	return !now.Before(created.Add(giveUpAfter))
}

// plainText makes text that PostgreSQL can store out of anything: a zero byte in a name, or bytes in an answer that are
// no UTF-8, must not stop a batch.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// oneLine also drops what would end a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, plainText(s))
}
