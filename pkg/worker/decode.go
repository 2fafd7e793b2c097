package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/message"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// maxStepName bounds the one text of a command that becomes part of a key.
const maxStepName = 100

// delivery is one record of a poll: a command, or a letter when it is none that this build can apply.
type delivery struct {
	record  *kgo.Record
	command *command
	letter  *deadletter.Letter
}

func (d *delivery) park(reason deadletter.Reason, cause error, now time.Time) {
	letter := deadletter.New(d.record, reason, cause, now)
	d.letter = &letter
}

// decode fills d in. It never fails: what cannot be read becomes a letter with its bytes.
func (w *Worker) decode(d *delivery, record *kgo.Record, now time.Time) {
	d.record = record
	envelope, data, err := message.Decode(record)
	if err != nil {
		reason := deadletter.Undecodable
		var refused *message.Error
		if errors.As(err, &refused) {
			reason = deadletter.Reason(refused.Reason)
		}
		d.park(reason, err, now)
		return
	}
	reg, known := w.byType[envelope.Type]
	if !known {
		d.park(deadletter.UnknownType, fmt.Errorf(
			"participant %s handles no %s; deploy a build that does, then redrive the record",
			w.cfg.Participant, envelope.Type), now)
		return
	}
	op := OpDo
	if envelope.Type == reg.undoType {
		op = OpUndo
	}
	d.command, err = newCommand(reg, op, data, record.Value)
	if err != nil {
		d.park(deadletter.Undecodable, fmt.Errorf("reading %s: %w", envelope.Type, err), now)
		return
	}
	d.command.answers = d.command.Attempt
	d.command.causation = envelope.ID
	if record.Context != nil {
		d.command.parent = trace.SpanContextFromContext(record.Context)
	}
}

// newCommand checks the meta of a command and takes it apart.
func newCommand(reg *registration, op Operation, data proto.Message, raw []byte) (*command, error) {
	input, ok := data.(Input)
	if !ok || input.GetMeta() == nil {
		return nil, errors.New("meta is missing; every command carries its CommandMeta as field 1")
	}
	meta := input.GetMeta()
	sagaID, err := uuid.Parse(meta.GetSagaId())
	if err != nil {
		return nil, fmt.Errorf("meta.saga_id %q is no UUID: %w", meta.GetSagaId(), err)
	}
	orderID, err := uuid.Parse(meta.GetOrderId())
	if err != nil {
		return nil, fmt.Errorf("meta.order_id %q is no UUID: %w", meta.GetOrderId(), err)
	}
	if err := checkStepName(meta.GetStep()); err != nil {
		return nil, err
	}
	if meta.GetOperation() != op {
		return nil, fmt.Errorf("meta.operation is %s, but this message asks for %s", meta.GetOperation(), op)
	}
	if meta.GetGeneration() > math.MaxInt32 {
		return nil, fmt.Errorf("meta.generation %d is more than %d", meta.GetGeneration(), math.MaxInt32)
	}
	generation, sagaText := int(meta.GetGeneration()), canonical(meta.GetSagaId(), sagaID)
	return &command{
		Header: Header{
			SagaID:     sagaID,
			OrderID:    orderID,
			Step:       meta.GetStep(),
			Generation: generation,
			Attempt:    int(meta.GetAttempt()),
			Key:        effectKey(sagaText, meta.GetStep(), generation),
			IssuedAt:   meta.GetIssuedAt().AsTime(),
		},
		sagaText:  sagaText,
		orderText: canonical(meta.GetOrderId(), orderID),
		op:        op,
		reg:       reg,
		input:     input,
		raw:       raw,
	}, nil
}

// canonical is id.String(), which is nearly always how the text of it came.
func canonical(text string, id uuid.UUID) string {
	if len(text) == len("00000000-0000-0000-0000-000000000000") && strings.ToLower(text) == text {
		return text
	}
	return id.String()
}

func checkStepName(name string) error {
	if name == "" || len(name) > maxStepName {
		return fmt.Errorf("meta.step has %d bytes; it must have 1 to %d", len(name), maxStepName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("meta.step %q contains a character that cannot be printed", name)
		}
	}
	return nil
}

// restore makes a command again from the bytes that a row keeps.
func restore(row *storedRow, reg *registration, op Operation, stored []byte) (*command, error) {
	data := reg.newDo()
	if op == OpUndo {
		data = reg.newUndo()
	}
	if err := row.readCommand(stored, data); err != nil {
		return nil, fmt.Errorf("reading the stored %s: %w", reg.typeOf(op), err)
	}
	c, err := newCommand(reg, op, data, stored)
	if err != nil {
		return nil, fmt.Errorf("reading the stored %s: %w", reg.typeOf(op), err)
	}
	return c, nil
}

// recall gives an undo what it takes back: the do command and the reply that stated its effect.
func (c *command) recall(row *storedRow) error {
	did, err := restore(row, c.reg, OpDo, row.command)
	if err != nil {
		return err
	}
	reply := &sagav1.Reply{}
	if err := row.readReply(reply); err != nil {
		return err
	}
	c.did, c.doReply = did.input, reply
	return nil
}

// traced puts the command's trace into the context, so that what is done for an order stands in the order's trace.
func (c *command) traced(ctx context.Context) context.Context {
	if !c.parent.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, c.parent)
}
