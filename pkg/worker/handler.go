package worker

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Handler is a step whose effect is made in the participant's own database, in the transaction of the poll.
//
// Both functions get every command of the poll at once and return one outcome for each, in the same order. Whatever
// they write is committed together with the step rows and the stored replies, or not at all. They may be run again
// for the same commands after a rollback, so they do nothing outside tx.
type Handler[D, U Input] struct {
	// Do makes the effects. It may say Done, Refused or Retry.
	Do func(ctx context.Context, tx pgx.Tx, batch []*Command[D]) ([]Outcome, error)
	// Undo takes the effects back. It may say Undone, UndoRefused or Retry. Nil: the step has no undo, U is NoUndo.
	Undo func(ctx context.Context, tx pgx.Tx, batch []*Undo[D, U]) ([]Outcome, error)
}

// Locker takes the row locks of a whole poll, in one order, before any handler runs. It gets the commands that handlers
// are about to get, dos and undos of all kinds.
//
// A poll hands its commands to one handler after another, and each of them locks rows in its own order. Two processes
// whose polls hold commands of several kinds would lock the same rows crosswise: a deadlock, which costs a second and
// the work of one of the two. A participant whose handlers lock rows that many orders share therefore needs a Locker;
// where every order locks rows of its own it is not needed, since no two processes have the same order in hand.
type Locker func(ctx context.Context, tx pgx.Tx, commands []Input) error

// LockFirst sets the Locker. It is called before Run.
func (w *Worker) LockFirst(locker Locker) { w.locker = locker }

// CallHandler is a step whose effect is made by somebody else: a card gateway, a carrier, a mail server.
//
// Prepare writes what shall be asked for, the transaction commits, Call asks, Settle writes the answer. The row is in
// doubt from the first commit to the second, so a crash between them leaves a question, never a guess: the resolver
// calls Call again, with the same Key, until an answer is there.
type CallHandler[D, U Input] struct {
	// Prepare runs in the transaction of the poll. It may say Call, Refused, Done, Retry or InDoubt.
	// Nil says Call for every command.
	Prepare func(ctx context.Context, tx pgx.Tx, batch []*Command[D]) ([]Outcome, error)
	// Call runs outside any transaction, many at a time. An error means that the outcome is unknown; a refusal of
	// the provider is a result. With Probe > 0 it is asked again for a call that went unanswered.
	Call func(ctx context.Context, c *Command[D]) (result any, err error)
	// Settle runs in one transaction for all results gathered. It may say Done, Refused or InDoubt.
	Settle func(ctx context.Context, tx pgx.Tx, batch []Settled[D]) ([]Outcome, error)

	// PrepareUndo is Prepare for the undo: Call, Undone, UndoRefused, Retry or InDoubt. Nil says Call for every undo.
	PrepareUndo func(ctx context.Context, tx pgx.Tx, batch []*Undo[D, U]) ([]Outcome, error)
	// CallUndo is Call for the undo. Without it PrepareUndo must take the effect back by itself.
	CallUndo func(ctx context.Context, u *Undo[D, U]) (result any, err error)
	// SettleUndo is Settle for the undo: Undone, UndoRefused or InDoubt.
	SettleUndo func(ctx context.Context, tx pgx.Tx, batch []SettledUndo[D, U]) ([]Outcome, error)
}
