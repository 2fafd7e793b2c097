package worker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// A row keeps messages in one of two forms. The whole one is the message as it was received or sent. The compact one
// lacks what the row has as columns: saga, order, step and generation, which fill half of most commands and replies. A zero
// byte stands before it, which begins no message, since no field has the number zero. Rows of both forms are read for
// ever; what they give back is the same.
//
// The name of the command is kept in two forms likewise: without its beginning, which is the participant's own, it begins
// with a dot, as no full name does.

var compactForm = []byte{0}

// readReply reads the reply that the row keeps.
func (row *storedRow) readReply() (*sagav1.Reply, error) {
	raw, compact := bytes.CutPrefix(row.reply, compactForm)
	reply := &sagav1.Reply{}
	if err := proto.Unmarshal(raw, reply); err != nil {
		return nil, fmt.Errorf("reading the stored reply: %w", err)
	}
	if compact {
		reply.SagaId, reply.OrderId = row.key.saga.String(), row.orderID.String()
		reply.Step, reply.Generation = row.key.step, uint32(row.key.generation)
	}
	return reply, nil
}

// readCommand reads a command that the row keeps.
func (row *storedRow) readCommand(stored []byte, into Input) error {
	raw, compact := bytes.CutPrefix(stored, compactForm)
	if err := proto.Unmarshal(raw, into); err != nil {
		return err
	}
	if !compact {
		return nil
	}
	meta := into.GetMeta()
	if meta == nil {
		return errors.New("meta is missing")
	}
	meta.SagaId, meta.OrderId = row.key.saga.String(), row.orderID.String()
	meta.Step, meta.Generation = row.key.step, uint32(row.key.generation)
	return nil
}

// shortName is a command's name as rows may keep it.
func (w *Worker) shortName(full string) string {
	if own, rest, _ := strings.Cut(full, "recourse."+w.cfg.Participant); own == "" && strings.HasPrefix(rest, ".") {
		return rest
	}
	return full
}
