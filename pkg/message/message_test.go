package message_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"recourse.dev/pkg/message"
)

func sound() message.Event {
	return message.Event{
		ID:            "01999999-0000-7000-8000-000000000001",
		Source:        "coordinator",
		Subject:       "order",
		CorrelationID: "saga",
		CausationID:   "cause",
		Time:          time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		Data:          wrapperspb.String("hello"),
	}
}

func mustEncode(tb testing.TB, event message.Event) *kgo.Record {
	tb.Helper()
	r, err := message.Encode("topic", "order", event)
	require.NoError(tb, err)
	return r
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestEncode(t *testing.T) {
	t.Parallel()
	event := sound()
	r := mustEncode(t, event)
	require.Equal(t, "topic", r.Topic)
	require.Equal(t, "order", string(r.Key))
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	require.Equal(t, map[string]string{
		"ce_specversion":   "1.0",
		"ce_id":            event.ID,
		"ce_type":          "google.protobuf.StringValue",
		"ce_source":        "coordinator",
		"ce_subject":       "order",
		"ce_time":          "2026-01-02T03:04:05.000006Z",
		"ce_correlationid": "saga",
		"ce_causationid":   "cause",
		"content-type":     "application/protobuf",
	}, headers)

	envelope, data, err := message.Decode(r)
	require.NoError(t, err)
	require.True(t, proto.Equal(event.Data, data))
	require.Equal(t, message.Envelope{
		ID: event.ID, Type: "google.protobuf.StringValue", Source: "coordinator", Subject: "order",
		CorrelationID: "saga", CausationID: "cause", Time: event.Time,
	}, envelope)
}

func TestEncode_fills_in_what_may_be_missing(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-time.Second)
	r := mustEncode(t, message.Event{Source: "coordinator", Data: wrapperspb.String("")})
	envelope, data, err := message.Decode(r)
	require.NoError(t, err)
	require.Equal(t, uuid.Version(7), uuid.MustParse(envelope.ID).Version())
	require.True(t, envelope.Time.After(before))
	require.Empty(t, envelope.CausationID)
	require.Empty(t, header(r, message.HeaderCausationID))
	require.True(t, proto.Equal(wrapperspb.String(""), data))
}

func TestEncode_refuses_what_nobody_could_read(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*message.Event)
		want   string
	}{
		{"no data", func(e *message.Event) { e.Data = nil }, "no data"},
		{"no source", func(e *message.Event) { e.Source = "" }, "ce_source is empty"},
		{"long subject", func(e *message.Event) { e.Subject = strings.Repeat("x", 257) }, "ce_subject"},
		{"line break", func(e *message.Event) { e.CausationID = "a\nb" }, "ce_causationid"},
		{"broken text", func(e *message.Event) { e.Data = wrapperspb.String("\xff") }, "StringValue"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			event := sound()
			test.change(&event)
			_, err := message.Encode("topic", "order", event)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	set := func(key, value string) func(*kgo.Record) {
		return func(r *kgo.Record) {
			for i := range r.Headers {
				if r.Headers[i].Key == key {
					r.Headers[i].Value = []byte(value)
					return
				}
			}
			panic(key)
		}
	}
	add := func(key, value string) func(*kgo.Record) {
		return func(r *kgo.Record) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	for _, test := range []struct {
		name   string
		change func(*kgo.Record)
		reason message.Reason
		part   string
	}{
		{"no headers", func(r *kgo.Record) { r.Headers = nil }, message.ReasonUndecodable, "ce_specversion"},
		{"no id", set("ce_id", ""), message.ReasonUndecodable, "ce_id"},
		{"other version", set("ce_specversion", "0.3"), message.ReasonUndecodable, "ce_specversion"},
		{"json", set("content-type", "application/json"), message.ReasonUndecodable, "content-type"},
		{"time", set("ce_time", "yesterday"), message.ReasonUndecodable, "ce_time"},
		{"twice", add("ce_id", "again"), message.ReasonUndecodable, "ce_id"},
		{"zero byte", set("ce_subject", "a\x00b"), message.ReasonUndecodable, "ce_subject"},
		{"not UTF-8", set("ce_source", "\xff"), message.ReasonUndecodable, "ce_source"},
		{"too long", set("ce_id", strings.Repeat("x", 257)), message.ReasonUndecodable, "ce_id"},
		{"unknown type", set("ce_type", "recourse.next.v9.DoIt"), message.ReasonUnknownType, "ce_type"},
		{"an enum", set("ce_type", "google.protobuf.NullValue"), message.ReasonUnknownType, "ce_type"},
		{"no name at all", set("ce_type", "/../"), message.ReasonUnknownType, "ce_type"},
		{"value", func(r *kgo.Record) { r.Value = []byte{0xff} }, message.ReasonUndecodable, "value"},
		{"other value", func(r *kgo.Record) { r.Value = []byte("\x0a\x01\xff") }, message.ReasonUndecodable, "value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := mustEncode(t, sound())
			test.change(r)
			_, data, err := message.Decode(r)
			require.Nil(t, data)
			var refusal *message.Error
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, test.reason, refusal.Reason)
			require.Equal(t, test.part, refusal.Part)
			require.NotEmpty(t, refusal.Detail)
		})
	}
}

// What is sound of a broken envelope is kept for the person who reads the dead letter.
func TestDecode_keeps_what_is_sound(t *testing.T) {
	t.Parallel()
	r := mustEncode(t, sound())
	r.Headers[1].Value = []byte("\x00")
	envelope, _, err := message.Decode(r)
	require.Error(t, err)
	require.Empty(t, envelope.ID)
	require.Equal(t, "google.protobuf.StringValue", envelope.Type)
	require.Equal(t, "cause", envelope.CausationID)
}

// An older build passes on what a newer one said.
func TestDecode_keeps_unknown_fields(t *testing.T) {
	t.Parallel()
	r := mustEncode(t, sound())
	r.Value = append(r.Value, 0x7a, 0x03, 'n', 'e', 'w') // field 15
	_, data, err := message.Decode(r)
	require.NoError(t, err)
	again, err := proto.Marshal(data)
	require.NoError(t, err)
	require.Equal(t, r.Value, again)
}

// FuzzDecode feeds arbitrary bytes as value, type and one header: Decode answers with a message or a typed error, and
// what it accepts it can write again.
func FuzzDecode(f *testing.F) {
	tree, err := structpb.NewStruct(map[string]any{"a": []any{1, "b", nil, true}, "c": map[string]any{"d": 1.5}})
	require.NoError(f, err)
	for _, data := range []proto.Message{wrapperspb.String("hello"), wrapperspb.Int64(-1), tree} {
		value, err := proto.Marshal(data)
		require.NoError(f, err)
		f.Add(value, string(data.ProtoReflect().Descriptor().FullName()), "ce_causationid", []byte("cause"))
	}
	f.Fuzz(func(t *testing.T, value []byte, name, key string, text []byte) {
		r := mustEncode(t, sound())
		r.Value = value
		r.Headers[2].Value = []byte(name)
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: text})
		envelope, data, err := message.Decode(r)
		if err != nil {
			var refusal *message.Error
			require.ErrorAs(t, err, &refusal)
			require.Nil(t, data)
			require.NotEmpty(t, refusal.Part)
			return
		}
		again, err := message.Encode(r.Topic, string(r.Key), message.Event{
			ID: envelope.ID, Source: envelope.Source, Subject: envelope.Subject, Time: envelope.Time,
			CorrelationID: envelope.CorrelationID, CausationID: envelope.CausationID, Data: data,
		})
		require.NoError(t, err)
		envelopeAgain, dataAgain, err := message.Decode(again)
		require.NoError(t, err)
		require.Equal(t, envelope, envelopeAgain)
		// By their bytes: a NaN in the message is not equal to itself.
		first, err := proto.MarshalOptions{Deterministic: true}.Marshal(data)
		require.NoError(t, err)
		second, err := proto.MarshalOptions{Deterministic: true}.Marshal(dataAgain)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}

func ExampleDecode() {
	record, err := message.Encode("recourse.inventory.commands.v1", "order-1", message.Event{
		Source: "coordinator", Subject: "order-1", CorrelationID: "saga-1", Data: wrapperspb.String("reserve"),
	})
	if err != nil {
		panic(err)
	}
	envelope, data, err := message.Decode(record)
	if err != nil {
		panic(err)
	}
	fmt.Println(envelope.Type, envelope.CorrelationID)
	fmt.Println(data.(*wrapperspb.StringValue).GetValue())

	record.Value = []byte("no protobuf")
	_, _, err = message.Decode(record)
	if refusal, ok := errors.AsType[*message.Error](err); ok {
		fmt.Println(refusal.Reason)
	}
	// Output:
	// google.protobuf.StringValue saga-1
	// reserve
	// undecodable
}
