package worker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
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
func (row *storedRow) readReply(into *sagav1.Reply) error {
	raw, compact := bytes.CutPrefix(row.reply, compactForm)
	if err := proto.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the stored reply: %w", err)
	}
	if compact {
		into.SagaId, into.OrderId = row.key.saga.String(), row.orderID.String()
		into.Step, into.Generation = row.key.step, uint32(row.key.generation)
	}
	return nil
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

// metaField is where every command has its meta.
const metaField = 1

// keyFields are the fields that a compact form lacks, as they must read so that the columns give them back. CommandMeta
// and Reply number them alike.
type keyFields struct {
	saga, order [36]byte
	step        string
	generation  uint64
}

func (row *storedRow) keyFields() keyFields {
	k := keyFields{step: row.key.step, generation: uint64(row.key.generation)}
	encodeUUID(&k.saga, row.key.saga)
	encodeUUID(&k.order, row.orderID)
	return k
}

// cut appends the message without its key fields; false when one of them is missing or is not what the row says.
func (k *keyFields) cut(buf, message []byte) (_ []byte, ok bool) {
	const saga, order, step, generation = 1, 2, 3, 4
	var seen [generation + 1]bool
	seen[generation] = k.generation == 0
	for len(message) > 0 {
		number, kind, tag := protowire.ConsumeTag(message)
		n := protowire.ConsumeFieldValue(number, kind, message[max(tag, 0):])
		if tag < 0 || n < 0 {
			return nil, false
		}
		field, value := message[:tag+n], message[tag:tag+n]
		message = message[tag+n:]
		var same bool
		switch {
		case number == saga && kind == protowire.BytesType:
			same = string(text(value)) == string(k.saga[:])
		case number == order && kind == protowire.BytesType:
			same = string(text(value)) == string(k.order[:])
		case number == step && kind == protowire.BytesType:
			same = string(text(value)) == k.step
		case number == generation && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			same = v == k.generation
		default:
			buf = append(buf, field...)
			continue
		}
		if !same {
			return nil, false
		}
		seen[number] = true
	}
	return buf, seen[saga] && seen[order] && seen[step] && seen[generation]
}

func text(value []byte) []byte {
	v, _ := protowire.ConsumeBytes(value)
	return v
}

// encodeUUID writes what id.String() says.
func encodeUUID(into *[36]byte, id uuid.UUID) {
	at := 0
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			into[at] = '-'
			at++
		}
		const digits = "0123456789abcdef"
		into[at], into[at+1] = digits[b>>4], digits[b&15]
		at += 2
	}
}

// compactReply appends the reply in the form that the row keeps, and returns it.
func (k *keyFields) compactReply(slab, whole []byte) (_, stored []byte) {
	if len(whole) == 0 || whole[0] == compactForm[0] {
		return slab, whole
	}
	short, ok := k.cut(append(slab, compactForm...), whole)
	if !ok {
		return slab, whole
	}
	return short, short[len(slab):len(short):len(short)]
}

// compactCommand is compactReply for a command, whose key fields are those of its meta.
func (k *keyFields) compactCommand(slab, whole []byte) (_, stored []byte) {
	if len(whole) == 0 || whole[0] == compactForm[0] {
		return slab, whole
	}
	// Every writer of protobuf puts the field with the lowest number first; what does not is kept whole.
	number, kind, tag := protowire.ConsumeTag(whole)
	if number != metaField || kind != protowire.BytesType {
		return slab, whole
	}
	meta, n := protowire.ConsumeBytes(whole[tag:])
	var room [64]byte
	cut, ok := k.cut(room[:0], meta)
	if n < 0 || !ok {
		return slab, whole
	}
	short := protowire.AppendTag(append(slab, compactForm...), metaField, protowire.BytesType)
	short = append(protowire.AppendBytes(short, cut), whole[tag+n:]...)
	return short, short[len(slab):len(short):len(short)]
}
