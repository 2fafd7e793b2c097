package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Answers counts the rows of the verdict table for a pair of state and operation.
func Answers(state State, op Operation) (rows int) {
	for _, rule := range verdicts {
		if rule.row == state && rule.arrives == op {
			rows++
		}
	}
	return rows
}

// VerdictRows is the length of the verdict table.
func VerdictRows() int { return len(verdicts) }

// Steps counts the rows of the outcome table for a pair of phase and outcome.
func Steps(phase Phase, kind OutcomeKind) (rows int) {
	for _, s := range steps {
		if s.phase == phase && s.kind == kind {
			rows++
		}
	}
	return rows
}

// Reached lists the states that the outcome table leads to.
func Reached() map[State]bool {
	reached := make(map[State]bool)
	for _, s := range steps {
		reached[s.to] = true
	}
	return reached
}

// Statements is every SQL text of the package, by name.
var Statements = map[string]string{
	"load": loadSQL, "insert": insertSQL, "update": updateSQL, "claim": claimSQL, "count_open": countOpenSQL,
	"wake": wakeSQL, "read_mark": readMarkSQL, "raise_mark": raiseMarkSQL, "prune": pruneSQL,
}

// SwapForms rewrites all rows: those that are whole as compact ones, and compact ones as whole.
func SwapForms(ctx context.Context, w *Worker, pool *pgxpool.Pool) error {
	all, _, _ := strings.Cut(loadSQL, "JOIN")
	found, err := pool.Query(ctx, all)
	if err != nil {
		return err
	}
	rows, err := pgx.CollectRows(found, scanRow)
	if err != nil {
		return err
	}
	for _, row := range rows {
		name, command, undo, reply, err := swapped(w, row)
		if err != nil {
			return fmt.Errorf("swapping %v: %w", row.key, err)
		}
		_, err = pool.Exec(ctx, "UPDATE step SET command_type = $4, command = $5, undo = $6, reply = $7"+
			" WHERE saga_id = $1 AND step = $2 AND generation = $3",
			row.key.saga, row.key.step, row.key.generation, name, command, undo, reply)
		if err != nil {
			return err
		}
	}
	return nil
}

func swapped(w *Worker, row *storedRow) (name string, command, undo, reply []byte, err error) {
	reg := w.byRow[row.commandType]
	if name = w.shortName(reg.doType); name == row.commandType {
		name = reg.doType
	}
	key := row.keyFields()
	swap := func(stored []byte, into Input) []byte {
		if len(stored) == 0 {
			return stored // there is none, or it was wiped
		}
		if stored[0] != 0 {
			_, short := key.compactCommand(nil, stored)
			return short
		}
		if err = row.readCommand(stored, into); err != nil {
			return nil
		}
		whole, _ := proto.Marshal(into)
		return whole
	}
	command = swap(row.command, reg.newDo())
	undo = swap(row.undo, reg.newUndo())
	switch {
	case len(row.reply) == 0:
	case row.reply[0] != 0:
		_, reply = key.compactReply(nil, row.reply)
	default:
		read := &sagav1.Reply{}
		if err := row.readReply(read); err != nil {
			return name, command, undo, reply, err
		}
		reply, _ = proto.Marshal(read)
	}
	return name, command, undo, reply, err
}
