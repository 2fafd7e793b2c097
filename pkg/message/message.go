package message

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Names of the headers.
const (
	HeaderSpecVersion   = "ce_specversion"
	HeaderID            = "ce_id"
	HeaderType          = "ce_type"
	HeaderSource        = "ce_source"
	HeaderSubject       = "ce_subject"
	HeaderTime          = "ce_time"
	HeaderCorrelationID = "ce_correlationid"
	HeaderCausationID   = "ce_causationid"
	HeaderContentType   = "content-type"
)

const (
	specVersion = "1.0"
	contentType = "application/protobuf"
	// maxText bounds every text of the envelope; the longest of ours is a type name of about 50.
	maxText = 256
	idLen   = len("00000000-0000-7000-8000-000000000000")
)

// Event is a message on its way out.
type Event struct {
	// ID names the message. Empty: a new UUIDv7. A message that is sent again after a crash keeps its ID.
	ID            string
	Source        string
	Subject       string
	CorrelationID string
	CausationID   string
	// Time is when it happened. Zero: now.
	Time time.Time
	Data proto.Message
}

// Envelope is what a record says about the message in it.
type Envelope struct {
	ID            string
	Type          string
	Source        string
	Subject       string
	CorrelationID string
	CausationID   string
	Time          time.Time
}

// Encode makes the record of an event. The key decides the partition; it is the order id in all our topics.
func Encode(topic, key string, event Event) (*kgo.Record, error) {
	if event.Data == nil {
		return nil, fmt.Errorf("encoding a message for %s: no data", topic)
	}
	name := event.Data.ProtoReflect().Descriptor().FullName()
	value, err := proto.Marshal(event.Data)
	if err != nil {
		return nil, fmt.Errorf("encoding %s for %s: %w", name, topic, err)
	}
	return Encoded(topic, key, string(name), value, event)
}

// Encoded makes the record of an event whose data is encoded already, as a message of that full name; Data is not looked
// at.
func Encoded(topic, key, name string, value []byte, event Event) (*kgo.Record, error) {
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	// Room for the texts that are made here rather than given.
	var id [idLen]byte
	var at [len(time.RFC3339Nano)]byte
	if event.ID == "" {
		made, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("naming %s for %s: %w", name, topic, err)
		}
		appendID(id[:0], made)
	}
	fields := [...]struct {
		key, value string
		made       []byte
		optional   bool
	}{
		{key: HeaderSpecVersion, value: specVersion},
		{key: HeaderID, value: event.ID, made: id[:]},
		{key: HeaderType, value: name},
		{key: HeaderSource, value: event.Source},
		{key: HeaderSubject, value: event.Subject, optional: true},
		{key: HeaderTime, made: event.Time.UTC().AppendFormat(at[:0], time.RFC3339Nano)},
		{key: HeaderCorrelationID, value: event.CorrelationID, optional: true},
		{key: HeaderCausationID, value: event.CausationID, optional: true},
		{key: HeaderContentType, value: contentType},
	}
	size := len(key)
	for i := range fields {
		size += max(len(fields[i].value), len(fields[i].made))
	}
	// One piece of memory holds the record and its headers, and another one all texts. There is room for one header more:
	// the tracing hook appends traceparent.
	m := &struct {
		record  kgo.Record
		headers [len(fields) + 1]kgo.RecordHeader
	}{}
	headers, text := m.headers[:0], append(make([]byte, 0, size), key...)
	m.record.Topic, m.record.Key, m.record.Value = topic, text[:len(key):len(key)], value
	for i := range fields {
		h, from := &fields[i], len(text)
		switch {
		case h.value != "":
			// What we would not read back is not written.
			if err := checkText(h.value); err != nil {
				return nil, fmt.Errorf("encoding %s for %s: header %s: %w", name, topic, h.key, err)
			}
			text = append(text, h.value...)
		case h.made != nil:
			text = append(text, h.made...)
		case h.optional:
			continue
		default:
			return nil, fmt.Errorf("encoding %s for %s: header %s is empty", name, topic, h.key)
		}
		headers = append(headers, kgo.RecordHeader{Key: h.key, Value: text[from:len(text):len(text)]})
	}
	m.record.Headers = headers
	return &m.record, nil
}

// appendID appends id.String().
func appendID(buf []byte, id uuid.UUID) []byte {
	buf = append(hex.AppendEncode(buf, id[:4]), '-')
	buf = append(hex.AppendEncode(buf, id[4:6]), '-')
	buf = append(hex.AppendEncode(buf, id[6:8]), '-')
	buf = append(hex.AppendEncode(buf, id[8:10]), '-')
	return hex.AppendEncode(buf, id[10:])
}

// Decode reads a record back. After an error the envelope holds what could be read, for logs and dead letters.
func Decode(r *kgo.Record) (Envelope, proto.Message, error) {
	e, err := decodeEnvelope(r)
	if err != nil {
		return e, nil, err
	}
	messageType, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(e.Type))
	if err != nil {
		if errors.Is(err, protoregistry.NotFound) {
			return e, nil, refuse(ReasonUnknownType, HeaderType,
				fmt.Sprintf("this build knows no message %q; deploy a build that does, then redrive the record", e.Type), nil)
		}
		return e, nil, refuse(ReasonUnknownType, HeaderType, fmt.Sprintf("%q is no message", e.Type), err)
	}
	data := messageType.New().Interface()
	if err := proto.Unmarshal(r.Value, data); err != nil {
		return e, nil, refuse(ReasonUndecodable, "value",
			fmt.Sprintf("%d bytes are no %s; the writer must send what %s says", len(r.Value), e.Type, HeaderType), err)
	}
	return e, data, nil
}

// Open reads the envelope alone, for a reader that knows the type and has a way of its own to read the value.
func Open(r *kgo.Record) (Envelope, error) { return decodeEnvelope(r) }

func decodeEnvelope(r *kgo.Record) (Envelope, error) {
	var (
		e                    Envelope
		version, media, when string
		seen                 uint
		firstErr             error
	)
	fields := [...]struct {
		key      string
		into     *string
		required bool
	}{
		{HeaderSpecVersion, &version, true},
		{HeaderType, &e.Type, true},
		{HeaderID, &e.ID, true},
		{HeaderSource, &e.Source, true},
		{HeaderContentType, &media, true},
		{HeaderSubject, &e.Subject, false},
		{HeaderTime, &when, false},
		{HeaderCorrelationID, &e.CorrelationID, false},
		{HeaderCausationID, &e.CausationID, false},
	}
	fail := func(header, detail string, err error) {
		if firstErr == nil {
			firstErr = refuse(ReasonUndecodable, header, detail, err)
		}
	}
	texts := textsOf(r.Headers)
	// Goes on after the first fault: whatever of the envelope is sound helps the person who reads the dead letter.
	for i := range r.Headers {
		h := &r.Headers[i]
		text := texts[:len(h.Value)]
		texts = texts[len(h.Value):]
		for j := range fields {
			f := &fields[j]
			if h.Key != f.key {
				continue
			}
			if seen&(1<<j) != 0 {
				fail(f.key, "the header stands there twice", nil)
				break
			}
			seen |= 1 << j
			if err := checkText(text); err != nil {
				fail(f.key, "the header is no plain text", err)
				break
			}
			*f.into = text
			break
		}
	}
	for j := range fields {
		if f := &fields[j]; f.required && *f.into == "" {
			fail(f.key, "the header is missing or empty; records here are CloudEvents 1.0 in binary mode", nil)
		}
	}
	if firstErr != nil {
		return e, firstErr
	}
	if version != specVersion {
		fail(HeaderSpecVersion, fmt.Sprintf("is %q, want %q", version, specVersion), nil)
	}
	if media != contentType {
		fail(HeaderContentType, fmt.Sprintf("is %q, want %q", media, contentType), nil)
	}
	if when != "" {
		at, err := time.Parse(time.RFC3339Nano, when)
		if err != nil {
			fail(HeaderTime, fmt.Sprintf("is %q, want RFC 3339", when), err)
		}
		e.Time = at
	}
	// It is kept as evidence when the rest is forgotten, and must not hold it in memory.
	e.ID = strings.Clone(e.ID)
	return e, firstErr
}

// textsOf is the values of all headers, one after the other: one piece of memory for the texts of an envelope.
func textsOf(headers []kgo.RecordHeader) string {
	var room [512]byte
	all := room[:0]
	for i := range headers {
		all = append(all, headers[i].Value...)
	}
	return string(all)
}

// checkText refuses what a text column, a log line or a header could choke on.
func checkText(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%d bytes are more than %d", len(s), maxText)
	}
	if isPlain(s) {
		return nil
	}
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("control character %U", r)
		}
	}
	return nil
}

// isPlain says that the text is printable ASCII, as nearly every one is: looking at the bytes is enough, and at eight of
// them at once. Adding 1 takes DEL over the highest bit, taking a space away takes what is below one there.
func isPlain(s string) bool {
	const ones, spaces, highest = 0x0101010101010101, 0x2020202020202020, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		eight := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (eight|(eight+ones)|(eight-spaces))&highest != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
