package mailsink

import (
	"slices"
	"strings"

	"github.com/emersion/go-smtp"
)

// When in the conversation a recipient strikes.
type moment string

const (
	atRecipient moment = "recipient" // at RCPT TO
	atContent   moment = "content"   // after the whole content was read
)

// Trigger says what a recipient does to its mail.
type Trigger struct {
	// LocalPart is the recipient's name before the at sign and before a plus sign.
	LocalPart string

	at moment
	// refusal is the server's answer; nil if there is none or the mail is accepted.
	refusal *smtp.SMTPError
	// once strikes the first time only, for a recipient or for a Message-ID.
	once bool
	// keep says that the mail is kept.
	keep bool
	// drop closes the connection instead of an answer.
	drop bool
	// slow keeps the answer back.
	slow bool
}

// triggers is every recipient that makes trouble. doc.go explains each.
var triggers = []Trigger{
	{LocalPart: "bounce", at: atRecipient, refusal: answer(550, 5, 1, 1, "No such user here")},
	{LocalPart: "tempfail", at: atRecipient, refusal: answer(451, 4, 7, 1, "Try again later")},
	{LocalPart: "tempfail-once", at: atRecipient, refusal: answer(451, 4, 7, 1, "Greylisted, try again"), once: true},
	{LocalPart: "data-bounce", at: atContent, refusal: answer(554, 5, 6, 0, "This content is not wanted")},
	{LocalPart: "data-tempfail", at: atContent, refusal: answer(451, 4, 3, 0, "Try again later")},
	{LocalPart: "drop-after-data", at: atContent, keep: true, drop: true, once: true},
	{LocalPart: "drop-before-data", at: atContent, drop: true, once: true},
	{LocalPart: "slow", at: atContent, keep: true, slow: true},
}

// Triggers lists the recipients that make trouble.
func Triggers() []Trigger {
	return slices.Clone(triggers)
}

func answer(code, class, subject, detail int, message string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: message}
}

// triggerOf finds the row of a recipient.
func triggerOf(recipient string) (Trigger, bool) {
	local, _, _ := strings.Cut(recipient, "@")
	local, _, _ = strings.Cut(local, "+")
	at := slices.IndexFunc(triggers, func(t Trigger) bool { return strings.EqualFold(t.LocalPart, local) })
	if at < 0 {
		return Trigger{}, false
	}
	return triggers[at], true
}
