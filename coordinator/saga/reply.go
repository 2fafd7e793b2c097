package saga

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Reply is a participant's answer. It is the message Reply of schemas/proto/recourse/saga/v1/reply.proto, read straight
// from its bytes: the generated types in between took three times as long and 13 allocations in place of 4, three or more
// times an order. A fuzz test holds both to be the same.
type Reply struct {
	// SagaID and Step point into the bytes that were read.
	SagaID, Step             []byte
	Generation, Attempt, Seq uint32
	operation                int32
	// outcome is the field that holds it; what of the rest belongs to it depends on that.
	outcome      int
	effects      []Effect
	handles      map[string]string
	code, detail string
	seconds      int64
	nanos        int32
}

// ReplyType is the full name of the message.
const ReplyType = "recourse.saga.v1.Reply"

// The outcomes, by their fields.
const (
	outcomeDone = 10 + iota
	outcomeRefused
	outcomeRetry
	outcomeInDoubt
	outcomeUndone
	outcomeFenced
)

// ReadReply decodes a reply.
func ReadReply(data []byte) (Reply, error) {
	var r Reply
	err := fields(data, func(field int, v uint64) {
		switch field {
		case 4:
			r.Generation = uint32(v)
		case 5:
			r.operation = int32(v)
		case 6:
			r.Attempt = uint32(v)
		case 7:
			r.Seq = uint32(v)
		}
	}, func(field int, v []byte) error {
		switch field {
		case 1, 2, 3, 9: // 2 is the order, 9 the worker: nothing depends on them
			if !utf8.Valid(v) {
				return errNotUTF8
			}
			switch field {
			case 1:
				r.SagaID = v
			case 3:
				r.Step = v
			}
		case 8: // when the worker decided
			return fields(v, noNumber, noBytes)
		case outcomeDone, outcomeRefused, outcomeRetry, outcomeInDoubt, outcomeUndone, outcomeFenced:
			return r.read(field, v)
		}
		return nil
	})
	if err != nil {
		return Reply{}, fmt.Errorf("decoding a reply of %d bytes: %w", len(data), err)
	}
	return r, nil
}

func noNumber(int, uint64)      {}
func noBytes(int, []byte) error { return nil }

// read takes in an outcome. The last one counts; one that comes in pieces is put together.
func (r *Reply) read(outcome int, b []byte) error {
	if r.outcome != outcome {
		r.outcome, r.effects, r.handles, r.code, r.detail, r.seconds, r.nanos = outcome, nil, nil, "", "", 0, 0
	}
	return fields(b, noNumber, func(field int, v []byte) error {
		switch outcome {
		case outcomeDone:
			switch field {
			case 1:
				r.effects = append(r.effects, Effect{})
				return r.effects[len(r.effects)-1].decode(v)
			case 2:
				return handle(&r.handles, v)
			}
		case outcomeRefused:
			switch field {
			case 1:
				return text(&r.code, v)
			case 2:
				return text(&r.detail, v)
			}
		case outcomeRetry, outcomeInDoubt:
			switch field {
			case 1:
				return fields(v, r.instant, noBytes)
			case 2:
				return text(&r.detail, v)
			}
		}
		return nil
	})
}

func (r *Reply) instant(field int, v uint64) {
	switch field {
	case 1:
		r.seconds = int64(v)
	case 2:
		r.nanos = int32(v)
	}
}

// EventOf is the event that a reply brings. Unknown outcomes and operations
// are an error: they come from a newer participant, and guessing would be worse.
func EventOf(d *Definition, r *Reply, actor, evidence string) (Event, error) {
	step, ok := d.Index(string(r.Step))
	if !ok {
		return Event{}, fmt.Errorf("reply names step %q, which %s does not have", r.Step, d.name)
	}
	op := Op(r.operation)
	undo := op == OpUndo
	if r.operation != int32(OpDo) && r.operation != int32(OpUndo) {
		return Event{}, fmt.Errorf("reply to step %q has operation %d; it must be do (1) or undo (2)", r.Step, r.operation)
	}
	ev := Event{
		Step: step, Generation: r.Generation, Op: op, Attempt: r.Attempt, Seq: r.Seq, Actor: actor, Evidence: evidence,
		Effects: r.effects, Handles: r.handles, Code: r.code, Detail: r.detail,
	}
	switch r.outcome {
	case outcomeDone:
		ev.Kind = ReplyDone
	case outcomeRefused:
		ev.Kind = pick(undo, UndoRefused, ReplyRefused)
	case outcomeRetry:
		ev.Kind, ev.At = pick(undo, UndoRetry, ReplyRetry), time.Unix(r.seconds, int64(r.nanos)).UTC()
	case outcomeInDoubt:
		ev.Kind, ev.At = pick(undo, UndoDoubted, ReplyInDoubt), time.Unix(r.seconds, int64(r.nanos)).UTC()
	case outcomeUndone:
		ev.Kind = UndoDone
	case outcomeFenced:
		ev.Kind = ReplyFenced
	default:
		return Event{}, fmt.Errorf("reply to step %q has no outcome that this build knows", r.Step)
	}
	if ev.Kind.toUndo() != undo {
		return Event{}, fmt.Errorf("reply to step %q answers %s with %s", r.Step, ev.Op, ev.Kind)
	}
	return ev, nil
}

func pick(undo bool, a, b EventKind) EventKind {
	if undo {
		return a
	}
	return b
}
