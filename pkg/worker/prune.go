package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
)

// A row of step is a fence: as long as it is there, a late or repeated command meets it. So a row may only go when no
// command that could meet it will ever be carried out again.
//
// The mark makes sure of that. It is raised, in the transaction that deletes, to the time before which rows may be
// missing; and a command of a time before the mark that finds no row is not run but parked, as too_old. A command's time
// is that of its saga's birth, which is in the saga's id, or of its issue if that is earlier: a saga that has lived
// longer than its rows is not served either, because an undo could not know any more whether there is anything to undo.
// What is being asked about outside is never pruned.

const (
	// minKeepSteps is the longest deadline that an order may have, a day, and two days of margin.
	minKeepSteps = 72 * time.Hour
	// pruneMargin lies between the mark and the rows that are deleted, for the difference between the clocks that wrote
	// the id of the saga and the row.
	pruneMargin = 24 * time.Hour
	// young commands cannot be before any mark, and need not look.
	young = minKeepSteps - pruneMargin
	// pruneBatch bounds one transaction, prunePause is how long others have the database between two.
	pruneBatch = 1000
	prunePause = 100 * time.Millisecond
)

// Prune deletes one batch of rows whose effects have been settled for longer than Config.KeepSteps, from the given saga
// on, and one of closed dead letters. It returns where to go on, uuid.Nil when nothing is left.
func (w *Worker) Prune(ctx context.Context, from uuid.UUID) (next uuid.UUID, err error) {
	var pruned prunedRows
	err = pg.InTx(ctx, w.pool, func(tx pgx.Tx) error {
		mark, err := raiseMark(ctx, tx, w.cfg.KeepSteps)
		if err != nil {
			return err
		}
		pruned, err = pruneRows(ctx, tx, from, mark.Add(-pruneMargin), pruneBatch)
		return err
	})
	if err == nil {
		err = crash.Fail(crash.WorkerAfterPrune)
	}
	if err != nil {
		return uuid.Nil, err
	}
	letters, err := deadletter.Prune(ctx, w.pool, w.cfg.KeepLetters, pruneBatch)
	if err != nil {
		return uuid.Nil, err
	}
	w.metrics.pruned.WithLabelValues("step").Add(float64(pruned.count))
	w.metrics.pruned.WithLabelValues("dead_letter").Add(float64(letters))
	if pruned.count < pruneBatch {
		return uuid.Nil, nil
	}
	return pruned.last, nil
}

// pruneLoop prunes until its context ends.
func (w *Worker) pruneLoop(ctx context.Context) {
	from, pause := uuid.Nil, time.Duration(0)
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		next, err := w.Prune(ctx, from)
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "pruning failed; trying again later", slog.String("error", err.Error()))
		}
		if from, pause = next, prunePause; next == uuid.Nil {
			pause = w.cfg.PruneEvery
		}
	}
}

// checkRetention refuses to run when a command could still be in its topic after its row was pruned.
func (w *Worker) checkRetention(ctx context.Context) error {
	topic := w.cfg.Kafka.Topics().CommandTopic(w.cfg.Participant)
	retention, err := kafka.Retention(ctx, w.cfg.Kafka, w.log, topic)
	if err != nil {
		// Some brokers do not let everybody read settings; the mark keeps its promise all the same.
		w.log.WarnContext(ctx, "cannot compare KEEP_STEPS with the retention of the commands", slog.String("error", err.Error()))
		return nil
	}
	if retention == 0 {
		w.log.WarnContext(ctx, "commands are kept for ever; those older than KEEP_STEPS will be refused if they come again",
			slog.String("topic", topic), slog.Duration("keep_steps", w.cfg.KeepSteps))
		return nil
	}
	if least := retention + pruneMargin; w.cfg.KeepSteps < least {
		return fmt.Errorf("KEEP_STEPS is %s, and topic %s keeps commands for %s: set KEEP_STEPS to %s or more, or the "+
			"topic's retention.ms to less", w.cfg.KeepSteps, topic, retention, least)
	}
	return nil
}

// born is the time of a command: of its saga's birth, or of its issue if that is earlier.
func (c *command) born() time.Time {
	born := c.IssuedAt
	if c.SagaID.Version() == 7 {
		seconds, nanos := c.SagaID.Time().UnixTime()
		if created := time.Unix(seconds, nanos); created.Before(born) {
			born = created
		}
	}
	return born
}

// readMark reads the mark when a command of the poll could be before it. It is read after the rows: a row that was
// pruned meanwhile has raised it.
func (p *poll) readMark(ctx context.Context, tx pgx.Tx) error {
	for _, d := range p.deliveries {
		if d.letter == nil && p.rows[d.command.key()] == nil && p.now.Sub(d.command.born()) > young {
			var err error
			p.mark, err = readMark(ctx, tx)
			return err
		}
	}
	return nil
}

// tooOld refuses a command of which nobody knows what became.
func (p *poll) tooOld(row *storedRow, c *command) error {
	if row != nil || !c.born().Before(p.mark) {
		return nil
	}
	return fmt.Errorf("%s of effect %s is from %s, and effects from before %s are forgotten (KEEP_STEPS): whether it was "+
		"applied, refused or fenced is not known any more, so it is not carried out. Look at the order and settle the step",
		c.messageType(), c.Key, c.born().UTC().Format(time.RFC3339), p.mark.UTC().Format(time.RFC3339))
}
