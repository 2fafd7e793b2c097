package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/message"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// outgoing is a reply on its way to the coordinator.
type outgoing struct {
	body      sagav1.Reply
	decidedAt timestamppb.Timestamp
	command   *command
	// encoded is body as the row keeps it; nil when it keeps none.
	encoded []byte
}

// newReply starts a reply to the command; the caller sets its outcome.
func (w *Worker) newReply(c *command, effectSeq int, now time.Time) *outgoing {
	o := &outgoing{command: c}
	o.decidedAt.Seconds, o.decidedAt.Nanos = now.Unix(), int32(now.Nanosecond())
	o.body.SagaId, o.body.OrderId = c.sagaText, c.orderText
	o.body.Step, o.body.Generation = c.Step, uint32(c.Generation)
	o.body.Operation, o.body.Attempt = c.op, uint32(c.answers)
	o.body.EffectSeq, o.body.DecidedAt = uint32(effectSeq), &o.decidedAt
	o.body.Worker = w.cfg.Build
	return o
}

// apply writes what the domain said into the row and makes the reply: nil while a call is on its way.
func (w *Worker) apply(row *storedRow, c *command, phase Phase, o Outcome, now time.Time) (*outgoing, error) {
	next, err := row.Next(phase, o.kind)
	if err != nil {
		return nil, &fault{deadletter.HandlerPanic, fmt.Errorf("%s %s: %w", c.messageType(), c.Key, err)}
	}
	if next.State.Open() && !c.reg.mayCall(c.op) {
		return nil, &fault{deadletter.HandlerPanic, fmt.Errorf(
			"%s %s: outcome %q needs a handler with a call for it", c.messageType(), c.Key, o.kind)}
	}
	if next.State != row.State {
		row.probes = 0
	}
	row.Row = next
	row.dirty, row.asking = true, false
	switch {
	case next.State == StateUndoInDoubt:
		row.undo = c.raw
	case !next.UndoWanted:
		row.undo = nil
	}

	reply := w.newReply(c, next.EffectSeq, now)
	switch o.kind {
	case KindDone:
		if err := o.checkText(); err != nil {
			return nil, &fault{deadletter.HandlerPanic, fmt.Errorf("answering step %s: %w", row.key.step, err)}
		}
		reply.body.Outcome = &sagav1.Reply_Done{Done: &sagav1.Done{Effects: o.effects, Handles: o.handles}}
		return row.keep(reply)
	case KindRefused:
		reply.body.Outcome = refused(o)
		return row.keep(reply)
	case KindUndone:
		reply.body.Outcome = &sagav1.Reply_Undone{Undone: &sagav1.Undone{}}
		return row.keep(reply)
	case KindUndoRefused:
		reply.body.Outcome = refused(o)
		return reply, nil
	case KindCall:
		row.asking = true
		return nil, nil
	case KindInDoubt, KindRetry:
		if !next.State.Open() {
			reply.body.EffectSeq = 0
			reply.body.Outcome = &sagav1.Reply_Retry{Retry: &sagav1.Retry{
				NotBefore: timestamppb.New(now.Add(o.after)), Reason: plain(o.text),
			}}
			return reply, nil
		}
		row.probeIn = o.after
		if o.after <= 0 {
			row.probeIn = w.cfg.probeDelay(row.probes)
		}
		return w.inDoubt(row, c, o.text, now), nil
	}
	panic("unreachable: Next has refused " + o.kind)
}

// known answers a command whose row says everything already.
func (w *Worker) known(row *storedRow, c *command, verdict Verdict, now time.Time) (*outgoing, error) {
	switch verdict {
	case RepeatReply:
		reply := &outgoing{command: c}
		if err := row.readReply(&reply.body); err != nil {
			return nil, &fault{deadletter.HandlerRefused, fmt.Errorf("repeating the answer to %s: %w", c.Key, err)}
		}
		reply.body.Attempt = uint32(c.answers)
		return reply, nil
	case StoreVoid, SayNothing:
		reply := w.newReply(c, row.EffectSeq, now)
		reply.body.Outcome = &sagav1.Reply_Undone{Undone: &sagav1.Undone{Nothing: true}}
		if verdict == StoreVoid {
			return row.keep(reply)
		}
		return reply, nil
	case SayFenced:
		reply := w.newReply(c, row.EffectSeq, now)
		reply.body.Outcome = &sagav1.Reply_Fenced{Fenced: &sagav1.Fenced{}}
		return reply, nil
	case RememberUndo:
		row.UndoWanted, row.undo, row.dirty = true, c.raw, true
		if !row.asking {
			// Somebody waits for the answer now, so the next question does not wait for an hour.
			row.probes, row.probeIn = 0, 0
		}
		return w.inDoubt(row, c, "the do is in doubt; it will be undone if it turns out done", now), nil
	case SayInDoubt:
		return w.inDoubt(row, c, "an outside call is unanswered", now), nil
	case RunDo, RunUndo:
	}
	panic("unreachable: the domain answers " + verdict)
}

func (w *Worker) inDoubt(row *storedRow, c *command, reason string, now time.Time) *outgoing {
	reply := w.newReply(c, 0, now)
	reply.body.Outcome = &sagav1.Reply_InDoubt{InDoubt: &sagav1.InDoubt{
		NextProbe: timestamppb.New(now.Add(row.probeIn)), Reason: plain(reason),
	}}
	return reply
}

// keep stores the reply of a new fact, and sends what it stores.
func (row *storedRow) keep(reply *outgoing) (*outgoing, error) {
	stored, err := reply.body.MarshalVT()
	if err != nil {
		return nil, &fault{deadletter.HandlerPanic, fmt.Errorf("encoding the reply of step %s: %w", row.key.step, err)}
	}
	row.reply, reply.encoded = stored, stored
	return reply, nil
}

func refused(o Outcome) *sagav1.Reply_Refused {
	return &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: plain(o.code), Detail: plain(o.text)}}
}

// plain lets a provider's error text through protobuf, whose readers refuse what is no UTF-8.
func plain(text string) string { return strings.ToValidUTF8(text, "?") }

// replyType is the name under which every reply is sent.
var replyType = string((*sagav1.Reply)(nil).ProtoReflect().Descriptor().FullName())

// encode makes the records of replies.
func (w *Worker) encode(ctx context.Context, replies []*outgoing) ([]*kgo.Record, error) {
	records, now := make([]*kgo.Record, 0, len(replies)), w.Now()
	for _, reply := range replies {
		value, err := reply.encoded, error(nil)
		if value == nil {
			value, err = reply.body.MarshalVT()
		}
		if err != nil {
			return nil, fmt.Errorf("encoding a reply: %w", err)
		}
		record, err := message.Encoded(w.replyTopic, reply.body.GetOrderId(), replyType, value, message.Event{
			Source:        w.source,
			Subject:       reply.body.GetOrderId(),
			CorrelationID: reply.body.GetSagaId(),
			CausationID:   reply.command.causation,
			Time:          now,
		})
		if err != nil {
			return nil, fmt.Errorf("encoding a reply: %w", err)
		}
		record.Context = reply.command.traced(ctx)
		records = append(records, record)
	}
	return records, nil
}
