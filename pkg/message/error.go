package message

import "fmt"

// Reason says why a record cannot be read. The texts are those of the dead letters.
type Reason string

const (
	// ReasonUndecodable: the bytes or the envelope are not what they should be. Sending them again does not help.
	ReasonUndecodable Reason = "undecodable"
	// ReasonUnknownType: the envelope is sound but this build does not know the message. A newer build may.
	ReasonUnknownType Reason = "unknown_type"
)

// Error is what Decode returns for a record that it cannot read.
type Error struct {
	Reason Reason
	// Part is the header's name, or "value".
	Part string
	// Detail says what was wrong and what to do, for a person.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %s: %v", e.Reason, e.Part, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s: %s", e.Reason, e.Part, e.Detail)
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(reason Reason, part, detail string, err error) error {
	return &Error{Reason: reason, Part: part, Detail: detail, Err: err}
}
