package worker

import (
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Input is a command message: every command carries its CommandMeta as field 1.
type Input interface {
	proto.Message
	GetMeta() *sagav1.CommandMeta
}

// NoUndo stands for the undo message of a step that has none, such as a pivot.
type NoUndo struct{ proto.Message }

// GetMeta makes NoUndo an Input; it is never called.
func (NoUndo) GetMeta() *sagav1.CommandMeta { return nil }

// Header is what every command says about itself.
type Header struct {
	SagaID  uuid.UUID
	OrderID uuid.UUID
	// Step is the step's name in the definition of the saga, for example "reserve_stock".
	Step       string
	Generation int
	// Attempt counts the sends of the command; for people and traces, never for deduplication.
	Attempt int
	// Key is the effect key "saga:step:generation": equal in every attempt, do and undo, and the idempotency key
	// to give to outside providers.
	Key      string
	IssuedAt time.Time
	// Probe is 0 when the command is handled for the first time, and counts the resolver's questions after that.
	Probe int
}

// Command is a do as the domain sees it. Its fields are read, never changed.
type Command[T Input] struct {
	Header
	Input T
}

// Undo is an undo as the domain sees it, together with what it takes back.
type Undo[D, U Input] struct {
	Command[U]
	// Did is the do command whose effect is taken back.
	Did D
	// DoReply is the reply that stated the effect, with its handles.
	DoReply *sagav1.Reply
}

// Settled is a do whose outside call has come back.
type Settled[D Input] struct {
	*Command[D]
	// Result is what Call returned; nil when Err is set.
	Result any
	// Err says that the outcome is unknown: Call failed, timed out or panicked.
	Err error
}

// SettledUndo is an undo whose outside call has come back.
type SettledUndo[D, U Input] struct {
	*Undo[D, U]
	// Result is what CallUndo returned; nil when Err is set.
	Result any
	// Err says that the outcome is unknown: CallUndo failed, timed out or panicked.
	Err error
}

// EffectKey is the text form of a step row's key and the idempotency key for outside providers.
func EffectKey(saga uuid.UUID, step string, generation int) string {
	return effectKey(saga.String(), step, generation)
}

func effectKey(saga, step string, generation int) string {
	return saga + ":" + step + ":" + strconv.Itoa(generation)
}
