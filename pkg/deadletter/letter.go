package deadletter

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Reason says why a record was parked.
type Reason string

const (
	// Undecodable: the bytes or the envelope are not what they should be. Redriving does not help.
	Undecodable Reason = "undecodable"
	// UnknownType: this build does not know the message. Redrive after deploying one that does.
	UnknownType Reason = "unknown_type"
	// WrongTopic: a sound message that has no business on this topic.
	WrongTopic Reason = "wrong_topic"
	// HandlerPanic: handling it panicked. Redrive after the fix.
	HandlerPanic Reason = "handler_panic"
	// HandlerRefused: the handler found it impossible, for example a field that contradicts another.
	HandlerRefused Reason = "handler_refused"
	// UnknownSaga: a reply to a saga that the coordinator has never had.
	UnknownSaga Reason = "unknown_saga"
	// TooOld: a command from before the time up to which a participant has forgotten its effects, so that nobody knows
	// any more whether it was applied, refused or fenced. Redriving does not help.
	TooOld Reason = "too_old"
)

// Reasons lists every reason; the table's CHECK says the same.
func Reasons() []Reason {
	return []Reason{Undecodable, UnknownType, WrongTopic, HandlerPanic, HandlerRefused, UnknownSaga, TooOld}
}

// maxError bounds the text of the cause; a panic's stack is worth keeping, a novel is not.
const maxError = 8 << 10

// Header is one header of a parked record.
type Header struct {
	Key   string
	Value []byte
}

// Letter is a parked record.
type Letter struct {
	ID        uuid.UUID
	Topic     string
	Partition int32
	Offset    int64
	// RecordTime is the broker's time of the record.
	RecordTime time.Time
	// Key and Value are the record's bytes; nil and empty are different.
	Key     []byte
	Value   []byte
	Headers []Header
	Reason  Reason
	// Error is the cause, for a person.
	Error string
	// At is when it was parked.
	At time.Time
	// RedrivenAt is nil until an operator redrove it.
	RedrivenAt *time.Time
	// Dismissal is nil until an operator said that it needs nothing any more.
	Dismissal *Dismissal
}

// Dismissal is an operator's word that a letter needs nothing any more.
type Dismissal struct {
	At time.Time
	// By names the operator; empty if he did not.
	By     string
	Reason string
}

// New makes the letter of a record.
func New(r *kgo.Record, reason Reason, cause error, at time.Time) Letter {
	headers := make([]Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = Header{Key: h.Key, Value: h.Value}
	}
	return Letter{
		// Version 7, so that the ids' order is the order of parking.
		ID:         uuid.Must(uuid.NewV7()),
		Topic:      r.Topic,
		Partition:  r.Partition,
		Offset:     r.Offset,
		RecordTime: r.Timestamp,
		Key:        r.Key,
		Value:      r.Value,
		Headers:    headers,
		Reason:     reason,
		Error:      cause.Error(),
		At:         at,
	}
}

// storedHeader is a header inside the jsonb column. JSON text cannot hold every byte string that a header's key may be,
// so a key that is no plain text stands in key_raw too.
type storedHeader struct {
	Key    string `json:"key"`
	KeyRaw []byte `json:"key_raw,omitempty"`
	Value  []byte `json:"value"`
}

func encodeHeaders(headers []Header) (string, error) {
	stored := make([]storedHeader, len(headers))
	for i, h := range headers {
		stored[i] = storedHeader{Key: plainText(h.Key), Value: h.Value}
		if stored[i].Key != h.Key {
			stored[i].KeyRaw = []byte(h.Key)
		}
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return "", fmt.Errorf("encoding headers: %w", err)
	}
	return string(text), nil
}

func decodeHeaders(text []byte) ([]Header, error) {
	var stored []storedHeader
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("decoding headers: %w", err)
	}
	headers := make([]Header, len(stored))
	for i, h := range stored {
		headers[i] = Header{Key: h.Key, Value: h.Value}
		if h.KeyRaw != nil {
			headers[i].Key = string(h.KeyRaw)
		}
	}
	return headers, nil
}

// plainText makes text out of anything: PostgreSQL refuses broken UTF-8 and the zero byte, and a letter must never be
// the reason why its batch cannot commit.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// errorText is plainText, cut to size on a rune's border.
func errorText(s string) string {
	s = plainText(s)
	if len(s) <= maxError {
		return s
	}
	cut := maxError
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
