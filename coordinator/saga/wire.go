package saga

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
)

// The record of a saga is read and written with every event of every saga, seven times in an order's life. It is the
// message SagaRecord of schemas/proto/recourse/saga/v1/storage.proto, encoded straight from the saga and back: the
// generated types in between took 10 microseconds for the two ways, this takes 2. A test holds both to be the same.

var (
	errNotUTF8 = errors.New("a text is not UTF-8")
	errWire    = errors.New("not a protobuf message")
)

// encoder appends fields; what is zero is left out, as proto3 has it.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) varint(field protowire.Number, v uint64) {
	if v != 0 {
		e.b = protowire.AppendVarint(protowire.AppendTag(e.b, field, protowire.VarintType), v)
	}
}

func (e *encoder) time(field protowire.Number, t time.Time) { e.varint(field, uint64(micros(t))) }

func (e *encoder) text(field protowire.Number, s string) {
	if s != "" {
		e.textAlways(field, s)
	}
}

// textAlways is for the two fields of an entry of a map, which are never left out.
func (e *encoder) textAlways(field protowire.Number, s string) {
	if !utf8.ValidString(s) {
		e.err = errNotUTF8
	}
	e.b = protowire.AppendString(protowire.AppendTag(e.b, field, protowire.BytesType), s)
}

func (e *encoder) uuid(field protowire.Number, id uuid.UUID) {
	e.b = protowire.AppendBytes(protowire.AppendTag(e.b, field, protowire.BytesType), id[:])
}

// open begins a message and close ends it: only then its length is known, which stands before it. There is room for one
// byte, which is enough for nearly every one.
func (e *encoder) open(field protowire.Number) (at int) {
	e.b = append(protowire.AppendTag(e.b, field, protowire.BytesType), 0)
	return len(e.b)
}

func (e *encoder) close(at int) {
	var room [10]byte
	length := protowire.AppendVarint(room[:0], uint64(len(e.b)-at))
	e.b[at-1] = length[0]
	if len(length) > 1 {
		e.b = slices.Insert(e.b, at, length[1:]...)
	}
}

func (e *encoder) step(st *StepStatus) {
	e.varint(1, uint64(st.State))
	e.varint(2, uint64(st.Generation))
	e.varint(3, uint64(st.Attempt))
	e.time(4, st.Since)
	e.time(5, st.Due)
	e.varint(6, uint64(st.Seq))
	for i := range st.Effects {
		f := &st.Effects[i]
		at := e.open(7)
		e.text(1, f.Kind)
		e.varint(2, uint64(f.Amount))
		e.text(3, f.Unit)
		e.text(4, f.Handle)
		e.close(at)
	}
	if len(st.Handles) > 0 {
		e.handles(st.Handles)
	}
	e.text(9, st.Code)
	e.text(10, st.Detail)
	id, is := uuidOf(st.Evidence)
	if !is {
		e.text(11, st.Evidence)
	}
	e.time(12, st.IssuedAt)
	if st.EverIssued {
		e.varint(13, 1)
	}
	if is {
		e.uuid(14, id)
	}
}

func (e *encoder) handles(all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		at := e.open(8)
		e.textAlways(1, name)
		e.textAlways(2, all[name])
		e.close(at)
	}
}

// fields calls with every field of a message: its number, and its value as a number or as bytes. Fields of other kinds,
// which a newer build may have written, are skipped.
func fields(b []byte, number func(field int, v uint64), bytes func(field int, v []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || field > protowire.MaxValidNumber {
			return errWire
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				number(int(field), v)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				if err := bytes(int(field), v); err != nil {
					return err
				}
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
	}
	return nil
}

func text(into *string, v []byte) error {
	if !utf8.Valid(v) {
		return errNotUTF8
	}
	*into = string(v)
	return nil
}

func (st *StepStatus) decode(b []byte) error {
	var id []byte
	err := fields(b, func(field int, v uint64) {
		switch field {
		case 1:
			st.State = StepState(uint32(v))
		case 2:
			st.Generation = uint32(v)
		case 3:
			st.Attempt = uint32(v)
		case 4:
			st.Since = instant(int64(v))
		case 5:
			st.Due = instant(int64(v))
		case 6:
			st.Seq = uint32(v)
		case 12:
			st.IssuedAt = instant(int64(v))
		case 13:
			st.EverIssued = v != 0
		}
	}, func(field int, v []byte) error {
		switch field {
		case 7:
			st.Effects = append(st.Effects, Effect{})
			return st.Effects[len(st.Effects)-1].decode(v)
		case 8:
			return handle(&st.Handles, v)
		case 9:
			return text(&st.Code, v)
		case 10:
			return text(&st.Detail, v)
		case 11:
			return text(&st.Evidence, v)
		case 14:
			id = v
		}
		return nil
	})
	st.Evidence = evidenceOf(id, st.Evidence)
	return err
}

func (f *Effect) decode(b []byte) error {
	return fields(b, func(field int, v uint64) {
		if field == 2 {
			f.Amount = int64(v)
		}
	}, func(field int, v []byte) error {
		switch field {
		case 1:
			return text(&f.Kind, v)
		case 3:
			return text(&f.Unit, v)
		case 4:
			return text(&f.Handle, v)
		}
		return nil
	})
}

// handle reads an entry of a map of handles.
func handle(all *map[string]string, b []byte) error {
	var name, value string
	err := fields(b, func(int, uint64) {}, func(field int, v []byte) error {
		switch field {
		case 1:
			return text(&name, v)
		case 2:
			return text(&value, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *all == nil {
		*all = make(map[string]string)
	}
	(*all)[name] = value
	return nil
}

// MarshalRecord encodes what the coordinator's narrow row keeps beside its
// columns (id, definition, state, revision, paused, attention kind, created and
// ended). Times are stored in microseconds.
func MarshalRecord(dst []byte, s *Saga) ([]byte, error) {
	e := encoder{b: slices.Grow(dst, 96*(1+len(s.Steps)))}
	for i := range s.Steps {
		at := e.open(1)
		e.step(&s.Steps[i])
		e.close(at)
	}
	e.varint(2, uint64(s.Cause))
	e.text(3, s.CauseDetail)
	e.varint(4, uint64(s.Wish))
	e.text(5, s.WishDetail)
	e.time(6, s.Deadline)
	e.varint(7, uint64(s.Attention.Step))
	e.time(8, s.Attention.Since)
	e.text(9, s.Attention.Detail)
	e.time(10, s.Since)
	if e.err != nil {
		return nil, fmt.Errorf("encoding the record of saga %s: %w", s.ID, e.err)
	}
	return e.b, nil
}

// UnmarshalRecord fills in what MarshalRecord encoded. The columns, the
// attention kind among them, must be set by the caller.
func UnmarshalRecord(data []byte, s *Saga) error {
	s.Cause, s.CauseDetail, s.Wish, s.WishDetail = 0, "", 0, ""
	s.Deadline, s.Since = time.Time{}, time.Time{}
	s.Attention.Step, s.Attention.Since, s.Attention.Detail = 0, time.Time{}, ""
	s.Steps = make([]StepStatus, 0, 6) // as many as an order has; more are appended
	err := fields(data, func(field int, v uint64) {
		switch field {
		case 2:
			s.Cause = Cause(uint32(v))
		case 4:
			s.Wish = Cause(uint32(v))
		case 6:
			s.Deadline = instant(int64(v))
		case 7:
			s.Attention.Step = int(uint32(v))
		case 8:
			s.Attention.Since = instant(int64(v))
		case 10:
			s.Since = instant(int64(v))
		}
	}, func(field int, v []byte) error {
		switch field {
		case 1:
			s.Steps = append(s.Steps, StepStatus{})
			return s.Steps[len(s.Steps)-1].decode(v)
		case 3:
			return text(&s.CauseDetail, v)
		case 5:
			return text(&s.WishDetail, v)
		case 9:
			return text(&s.Attention.Detail, v)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decoding the record of saga %s: %w", s.ID, err)
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
