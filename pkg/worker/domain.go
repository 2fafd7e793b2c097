package worker

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/deadletter"
)

// decide runs the domain's first word on commands of one kind: Do or Prepare on absent rows, Undo or PrepareUndo on
// done ones. It changes the rows in memory and returns a reply for each command (nil while a call is on its way) and
// the commands that are to be called after the commit.
func (w *Worker) decide(
	ctx context.Context, tx pgx.Tx, rows map[rowKey]*storedRow, batch []*command, op Operation, now time.Time,
) (replies []*outgoing, calls []*command, err error) {
	phase, handler := Doing, batch[0].reg.do
	if op == OpUndo {
		phase, handler = Undoing, batch[0].reg.undo
		for _, c := range batch {
			if err := c.recall(rows[c.key()]); err != nil {
				return nil, nil, &fault{deadletter.HandlerRefused, err}
			}
		}
	}
	outcomes, err := guard(batch[0].messageType(), len(batch), func() ([]Outcome, error) {
		return handler(ctx, tx, batch)
	})
	if err != nil {
		return nil, nil, err
	}
	replies = make([]*outgoing, len(batch))
	fresh := make([]storedRow, 0, len(batch))
	for i, c := range batch {
		row := rows[c.key()]
		if row == nil {
			fresh = append(fresh, newRow(c))
			row = &fresh[len(fresh)-1]
		}
		if replies[i], err = w.apply(row, c, phase, outcomes[i], now); err != nil {
			return nil, nil, err
		}
		if row.fresh && row.State == StateRefused {
			// Nobody will run or undo it again, and what it holds may be why it was refused: a card number, say.
			row.command = []byte{}
		}
		if row.State != StateAbsent {
			rows[c.key()] = row
		}
		if outcomes[i].kind == KindCall {
			calls = append(calls, c)
		}
	}
	lease := w.cfg.lease(w.calls.outstanding() + len(calls))
	for _, c := range calls {
		rows[c.key()].probeIn = lease
		c.latest = w.cfg.latest(now, lease)
	}
	return replies, calls, nil
}

// newRow is the row of an effect that was never heard of. A tombstone keeps no command: its do never came.
func newRow(c *command) storedRow {
	row := storedRow{key: c.key(), orderID: c.OrderID, commandType: c.reg.rowType, fresh: true}
	if c.op == OpDo {
		row.command = c.raw
	}
	return row
}

// pure is what the tables of row.go look at.
func (row *storedRow) pure() *Row {
	if row == nil {
		return nil
	}
	return &row.Row
}
