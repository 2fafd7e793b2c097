package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"recourse.dev/pkg/crash"
)

// claimTimeout bounds a claim; it is one statement on an index that holds open questions only.
const claimTimeout = 5 * time.Second

// Resolve takes the open questions that are due, its own and those that a dead process left behind, and asks again.
// The answers come out of Settle. It returns how many questions it has asked.
func (w *Worker) Resolve(ctx context.Context) (int, error) {
	// New commands come first, but a share is the resolver's even when they use up everything: an order in doubt must
	// not wait for as long as a busy day lasts.
	outstanding, share := w.calls.outstanding(), max(1, w.cfg.MaxCalls/4)
	free := max(w.cfg.MaxCalls-outstanding, min(share, w.cfg.MaxCalls+w.cfg.MaxBatch+share-outstanding))
	free = min(free, w.cfg.MaxBatch)
	if free <= 0 {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	leased, lease := w.Now(), w.cfg.lease(max(w.cfg.MaxCalls, outstanding+free))
	// A claim that is given up half-way may have been committed: nobody would ask until its lease has ended, and that is
	// long. So a stop lets it finish and the questions be asked, which the drain waits for.
	claiming, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	rows, err := claimDue(claiming, w.pool, free, lease)
	if err == nil && len(rows) > 0 {
		err = crash.Fail(crash.WorkerAfterClaim)
	}
	if err != nil {
		return 0, err
	}
	batch := make([]*command, 0, len(rows))
	for _, row := range rows {
		c, err := w.question(row)
		if err != nil {
			// The row stays; a build that can ask will find it when its lease has ended.
			w.metrics.unresolvable.Inc()
			w.log.ErrorContext(ctx, "cannot ask about an effect in doubt",
				slog.String("saga_id", row.key.saga.String()), slog.String("step", row.key.step),
				slog.String("state", row.State.String()), slog.String("error", err.Error()))
			continue
		}
		c.latest = w.cfg.latest(leased, lease)
		batch = append(batch, c)
	}
	w.metrics.probes.Add(float64(len(batch)))
	w.calls.start(w, batch)
	return len(batch), nil
}

// question makes the command of a claimed row again.
func (w *Worker) question(row *storedRow) (*command, error) {
	op, raw := OpDo, row.command
	if row.State == StateUndoInDoubt {
		op, raw = OpUndo, row.undo
	}
	reg, known := w.byRow[row.commandType]
	if !known || !reg.mayCall(op) {
		return nil, fmt.Errorf("this build has no handler with a call for the %s of %s; deploy one that has",
			op, row.commandType)
	}
	c, err := restore(row, reg, op, raw)
	if err != nil {
		return nil, err
	}
	c.Probe = row.probes
	if op == OpUndo {
		if err := c.recall(row); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// resolveLoop asks again whenever a question is due, until its context ends.
func (w *Worker) resolveLoop(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.ProbeEvery)
	defer ticker.Stop()
	for {
		if err := w.resolveOnce(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "asking about effects in doubt failed; trying again",
				slog.String("error", err.Error()))
		}
		select {
		case <-ticker.C:
		case <-w.poked:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Worker) resolveOnce(ctx context.Context) error {
	if _, err := w.Resolve(ctx); err != nil {
		return err
	}
	asked := time.Now()
	open, err := countOpen(ctx, w.pool)
	if err != nil {
		return err
	}
	w.clock.Set(open.now, asked)
	w.metrics.inDoubt.Set(float64(open.count))
	w.metrics.inDoubtOldest.Set(open.oldest.Seconds())
	return nil
}
