package deadletter

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"recourse.dev/pkg/httpserver"
)

// View is a letter as the API of every participant shows it. Its fields are those of the DeadLetter of their documents,
// so that a service converts it without naming them again.
type View struct {
	At              time.Time
	DismissedAt     *time.Time
	DismissedBy     *string
	DismissedReason *string
	Error           string
	Headers         *[]struct{ Key, Value string }
	ID              uuid.UUID
	Key             *string
	Offset          int64
	Partition       int32
	Reason          string
	RedrivenAt      *time.Time
	Topic           string
	Value           *[]byte
}

// View shows the letter. Keys and headers become text; the value keeps its bytes.
func (l *Letter) View() View {
	v := View{
		ID: l.ID, Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Key: optional(readable(string(l.Key))),
		Reason: string(l.Reason), Error: l.Error, At: l.At.UTC(), RedrivenAt: utc(l.RedrivenAt),
	}
	if l.Value != nil {
		v.Value = &l.Value
	}
	if len(l.Headers) > 0 {
		headers := make([]struct{ Key, Value string }, len(l.Headers))
		for i, h := range l.Headers {
			headers[i].Key, headers[i].Value = readable(h.Key), readable(string(h.Value))
		}
		v.Headers = &headers
	}
	if d := l.Dismissal; d != nil {
		v.DismissedAt, v.DismissedBy, v.DismissedReason = utc(&d.At), optional(d.By), &d.Reason
	}
	return v
}

// Problem says in the words of the API why an operator's wish about a letter was not done. What it does not know is
// left to the server.
func Problem(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return httpserver.NewProblem(httpserver.CodeDeadLetterNotFound,
			"This service has no such dead letter; GET /v1/dead-letters lists those that it has.")
	case errors.Is(err, ErrAlreadyRedriven):
		return httpserver.NewProblem(httpserver.CodeAlreadyRedriven,
			"It was redriven before. If it failed again there is a newer dead letter.")
	case errors.Is(err, ErrAlreadyDismissed):
		return httpserver.NewProblem(httpserver.CodeAlreadyDismissed,
			"It was dismissed before, with the reason that the list shows. It can still be redriven.")
	case errors.Is(err, ErrNotSent):
		return httpserver.NewProblem(httpserver.CodeUnavailable,
			"The broker did not take the record for now; the dead letter is as open as it was.",
			httpserver.WithRetryAfter(5*time.Second), httpserver.WithCause(err))
	}
	return err
}

func readable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// optional leaves an empty text out of the document.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	in := t.UTC()
	return &in
}
