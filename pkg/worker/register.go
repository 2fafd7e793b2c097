package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Handle registers a transactional handler for the do command D and the undo command U. It is called before Run;
// a handler that cannot work is a bug of the program, so it panics.
func Handle[D, U Input](w *Worker, h Handler[D, U]) {
	r := newRegistration[D, U](h.Undo != nil)
	if h.Do == nil {
		panic(fmt.Sprintf("worker: Handler for %s has no Do", r.doType))
	}
	r.do = onDo(h.Do)
	if h.Undo != nil {
		r.undo = onUndo(h.Undo)
	}
	w.register(r)
}

// HandleCall registers a handler with an outside call for the do command D and the undo command U. It is called
// before Run; a handler that cannot work is a bug of the program, so it panics.
func HandleCall[D, U Input](w *Worker, h CallHandler[D, U]) {
	r := newRegistration[D, U](h.PrepareUndo != nil || h.CallUndo != nil)
	if h.Call == nil || h.Settle == nil {
		panic(fmt.Sprintf("worker: CallHandler for %s needs Call and Settle", r.doType))
	}
	if (h.CallUndo == nil) != (h.SettleUndo == nil) {
		panic(fmt.Sprintf("worker: CallHandler for %s needs CallUndo and SettleUndo, or neither", r.doType))
	}
	r.do, r.undo = callEach, nil
	if h.Prepare != nil {
		r.do = onDo(h.Prepare)
	}
	r.call = func(ctx context.Context, c *command) (any, error) { return h.Call(ctx, typedDo[D](c)) }
	r.settle = func(ctx context.Context, tx pgx.Tx, batch []*answer) ([]Outcome, error) {
		settled := make([]Settled[D], len(batch))
		for i, a := range batch {
			settled[i] = Settled[D]{Command: typedDo[D](a.command), Result: a.result, Err: a.err}
		}
		return h.Settle(ctx, tx, settled)
	}
	if h.PrepareUndo != nil {
		r.undo = onUndo(h.PrepareUndo)
	}
	if h.CallUndo != nil {
		if r.undo == nil {
			r.undo = callEach
		}
		r.callUndo = func(ctx context.Context, c *command) (any, error) { return h.CallUndo(ctx, typedUndo[D, U](c)) }
		r.settleUndo = func(ctx context.Context, tx pgx.Tx, batch []*answer) ([]Outcome, error) {
			settled := make([]SettledUndo[D, U], len(batch))
			for i, a := range batch {
				settled[i] = SettledUndo[D, U]{Undo: typedUndo[D, U](a.command), Result: a.result, Err: a.err}
			}
			return h.SettleUndo(ctx, tx, settled)
		}
	}
	w.register(r)
}

// command is Command and Undo without their types, as the batch, the calls and the resolver carry it.
type command struct {
	Header
	// sagaText and orderText are the ids as they are sent.
	sagaText, orderText string
	op                  Operation
	reg                 *registration
	input               Input
	// raw is input as it was received; it is what the row keeps.
	raw []byte
	// did and doReply are set for an undo that is run.
	did     Input
	doReply *sagav1.Reply
	// answers is the attempt that a reply names: Header.Attempt, or 0 when the participant speaks first.
	answers int
	// latest is when an outside call for it must have begun.
	latest time.Time
	// causation is the id of the message that brought the command, and parent its trace.
	causation string
	parent    trace.SpanContext
}

func (c *command) key() rowKey { return rowKey{saga: c.SagaID, step: c.Step, generation: c.Generation} }

func (c *command) messageType() string { return c.reg.typeOf(c.op) }

// answer is Settled and SettledUndo without their types.
type answer struct {
	*command
	result any
	err    error
}

type domainFunc func(ctx context.Context, tx pgx.Tx, batch []*command) ([]Outcome, error)

type settleFunc func(ctx context.Context, tx pgx.Tx, batch []*answer) ([]Outcome, error)

type callFunc func(ctx context.Context, c *command) (any, error)

// registration is one handler without its types. undo is nil for a step without one; call and callUndo are nil where
// there is nobody outside to ask.
type registration struct {
	doType, undoType string
	// rowType is doType as rows keep it.
	rowType            string
	newDo, newUndo     func() Input
	do, undo           domainFunc
	call, callUndo     callFunc
	settle, settleUndo settleFunc
}

func newRegistration[D, U Input](hasUndo bool) *registration {
	r := &registration{doType: typeName[D](), newDo: newInput[D]}
	if hasUndo {
		r.undoType, r.newUndo = typeName[U](), newInput[U]
	}
	return r
}

// typeOf names the message that carries the operation.
func (r *registration) typeOf(op Operation) string {
	if op == OpUndo {
		return r.undoType
	}
	return r.doType
}

// mayCall reports whether an outside call exists for the operation.
func (r *registration) mayCall(op Operation) bool {
	if op == OpUndo {
		return r.callUndo != nil
	}
	return r.call != nil
}

func (w *Worker) register(r *registration) {
	for _, name := range []string{r.doType, r.undoType} {
		if name == "" {
			continue
		}
		if _, taken := w.byType[name]; taken {
			panic("worker: two handlers for " + name)
		}
		w.byType[name] = r
	}
	r.rowType = w.shortName(r.doType)
	w.byRow[r.doType], w.byRow[r.rowType] = r, r
	w.registrations = append(w.registrations, r)
}

func onDo[D Input](f func(context.Context, pgx.Tx, []*Command[D]) ([]Outcome, error)) domainFunc {
	return func(ctx context.Context, tx pgx.Tx, batch []*command) ([]Outcome, error) {
		commands, typed := make([]Command[D], len(batch)), make([]*Command[D], len(batch))
		for i, c := range batch {
			commands[i] = Command[D]{Header: c.Header, Input: c.input.(D)}
			typed[i] = &commands[i]
		}
		return f(ctx, tx, typed)
	}
}

func onUndo[D, U Input](f func(context.Context, pgx.Tx, []*Undo[D, U]) ([]Outcome, error)) domainFunc {
	return func(ctx context.Context, tx pgx.Tx, batch []*command) ([]Outcome, error) {
		typed := make([]*Undo[D, U], len(batch))
		for i, c := range batch {
			typed[i] = typedUndo[D, U](c)
		}
		return f(ctx, tx, typed)
	}
}

func callEach(_ context.Context, _ pgx.Tx, batch []*command) ([]Outcome, error) {
	outcomes := make([]Outcome, len(batch))
	for i := range outcomes {
		outcomes[i] = Call()
	}
	return outcomes, nil
}

func typedDo[D Input](c *command) *Command[D] {
	return &Command[D]{Header: c.Header, Input: c.input.(D)}
}

func typedUndo[D, U Input](c *command) *Undo[D, U] {
	return &Undo[D, U]{
		Command: Command[U]{Header: c.Header, Input: c.input.(U)},
		Did:     c.did.(D),
		DoReply: c.doReply,
	}
}

func typeName[T Input]() string {
	var zero T
	return string(zero.ProtoReflect().Descriptor().FullName())
}

func newInput[T Input]() Input {
	var zero T
	return zero.ProtoReflect().New().Interface().(T)
}
