package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/worker/internal/halt"
)

// Settle waits until an outside call has come back, writes down everything that has come back by then in one
// transaction, and returns the replies. It returns nothing, at once, when no call is on its way.
//
// With an error come the replies of what could be settled; the other answers are kept and the next Settle tries again.
func (w *Worker) Settle(ctx context.Context) ([]*kgo.Record, error) {
	some, err := w.calls.wait(ctx)
	if err != nil || !some {
		return nil, err
	}
	answers := w.calls.take(w.cfg.MaxBatch)
	var links []trace.Link
	for _, a := range answers {
		if a.parent.IsValid() {
			links = append(links, trace.Link{SpanContext: a.parent})
		}
	}
	ctx, span := w.tracer.Start(ctx, "worker.settle", trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("participant", w.cfg.Participant), attribute.Int("answers", len(answers))))
	defer span.End()

	if err := halt.At(ctx, crash.WorkerAfterCall); err != nil {
		w.calls.putBack(answers)
		return nil, err
	}
	replies, err := w.settle(ctx, answers, false)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		err = fmt.Errorf("settling %d calls: %w", len(answers), err)
	}
	records, encodeErr := w.encode(ctx, replies)
	return records, errors.Join(err, encodeErr)
}

// settle runs the transaction for answers. Like a batch it is halved around a fault; the culprit is postponed: its row
// stays in doubt and is asked about again, because there is no record that could be parked and nothing may be guessed.
func (w *Worker) settle(ctx context.Context, answers []*answer, postpone bool) ([]*outgoing, error) {
	var s *settlement
	err := pg.InBatches(ctx, w.pool, func(first *pgx.Batch) {
		s = &settlement{w: w, now: w.Now(), postpone: postpone}
		s.load(first, answers)
	}, func(tx pgx.Tx, last *pgx.Batch) error {
		return s.run(ctx, tx, last, answers)
	})
	if err == nil {
		err = halt.At(ctx, crash.WorkerAfterSettleCommit)
	}
	if err == nil {
		w.calls.forget(w, answers, s.rows)
		w.calls.start(w, s.calls)
		for _, v := range s.outcomes {
			w.metrics.outcomes.WithLabelValues(v.messageType, string(v.kind)).Inc()
		}
		return s.replies, nil
	}
	_, blamed := blame(err)
	alone := len(answers) == 1
	if !blamed && (alone || !contended(err)) || postpone {
		w.calls.putBack(answers)
		return nil, err
	}
	if alone {
		w.metrics.postponed.Inc()
		w.log.ErrorContext(ctx, "settling failed; the effect stays in doubt and is asked about again",
			slog.String("effect_key", answers[0].Key), slog.String("command", answers[0].messageType()),
			slog.String("error", err.Error()))
		return w.settle(ctx, answers, true)
	}
	middle := len(answers) / 2
	first, errFirst := w.settle(ctx, answers[:middle], false)
	second, errSecond := w.settle(ctx, answers[middle:], false)
	return append(first, second...), errors.Join(errFirst, errSecond)
}

// settlement is one try of the transaction that settles answers.
type settlement struct {
	w        *Worker
	now      time.Time
	postpone bool
	rows     map[rowKey]*storedRow
	replies  []*outgoing
	calls    []*command
	outcomes []outcomeCount
}

type outcomeCount struct {
	messageType string
	kind        OutcomeKind
}

// load asks for the rows of the answers.
func (s *settlement) load(first *pgx.Batch, answers []*answer) {
	keys := make([]rowKey, len(answers))
	for i, a := range answers {
		keys[i] = a.key()
	}
	s.rows = make(map[rowKey]*storedRow, len(keys))
	loadRows(first, keys, s.rows)
}

func (s *settlement) run(ctx context.Context, tx pgx.Tx, last *pgx.Batch, answers []*answer) error {
	type group struct {
		reg *registration
		op  Operation
	}
	groups := make(map[group][]*answer)
	for _, a := range answers {
		// Another owner may have settled the question meanwhile; then its answer stands.
		if row := s.rows[a.key()]; row != nil && row.State == openState(a.op) {
			groups[group{a.reg, a.op}] = append(groups[group{a.reg, a.op}], a)
		}
	}
	for _, reg := range s.w.registrations {
		if err := s.dos(ctx, tx, reg, groups[group{reg, OpDo}]); err != nil {
			return err
		}
		if err := s.undos(ctx, tx, reg, groups[group{reg, OpUndo}]); err != nil {
			return err
		}
	}
	storeRows(last, s.rows)
	return halt.At(ctx, crash.WorkerBeforeSettleCommit)
}

// dos settles dos, and goes on with the undo where one arrived while the do was in doubt.
func (s *settlement) dos(ctx context.Context, tx pgx.Tx, reg *registration, answers []*answer) error {
	wanted := make(map[rowKey][]byte)
	for _, a := range answers {
		if row := s.rows[a.key()]; row.UndoWanted {
			wanted[row.key] = row.undo
		}
	}
	if err := s.settled(ctx, tx, SettlingDo, reg.settle, answers); err != nil {
		return err
	}
	var undos []*command
	for _, a := range answers {
		row := s.rows[a.key()]
		raw, undoWanted := wanted[row.key]
		if !undoWanted {
			continue
		}
		if row.State == StateInDoubt {
			continue
		}
		undo, err := restore(row, reg, OpUndo, raw)
		if err != nil {
			return &fault{deadletter.HandlerRefused, err}
		}
		undo.parent = a.parent
		if row.State == StateDone {
			undos = append(undos, undo)
			continue
		}
		reply, err := s.w.known(row, undo, Decide(row.pure(), OpUndo), s.now)
		if err != nil {
			return err
		}
		s.reply(reply)
	}
	if len(undos) == 0 {
		return nil
	}
	replies, calls, err := s.w.decide(ctx, tx, s.rows, undos, OpUndo, s.now)
	if err != nil {
		return err
	}
	for _, reply := range replies {
		s.reply(reply)
	}
	s.calls = append(s.calls, calls...)
	return nil
}

func (s *settlement) undos(ctx context.Context, tx pgx.Tx, reg *registration, answers []*answer) error {
	for _, a := range answers {
		if err := a.recall(s.rows[a.key()]); err != nil {
			return &fault{deadletter.HandlerRefused, err}
		}
	}
	return s.settled(ctx, tx, SettlingUndo, reg.settleUndo, answers)
}

// settled asks the domain about answers and writes down what it says.
func (s *settlement) settled(
	ctx context.Context, tx pgx.Tx, phase Phase, handler settleFunc, answers []*answer,
) error {
	if len(answers) == 0 {
		return nil
	}
	outcomes, err := guard(answers[0].messageType(), len(answers), func() ([]Outcome, error) {
		if s.postpone {
			return postponed(answers), nil
		}
		return handler(ctx, tx, answers)
	})
	if err != nil {
		return err
	}
	for i, a := range answers {
		reply, err := s.w.apply(s.rows[a.key()], a.command, phase, outcomes[i], s.now)
		if err != nil {
			return err
		}
		s.outcomes = append(s.outcomes, outcomeCount{a.messageType(), outcomes[i].kind})
		s.reply(reply)
	}
	return nil
}

func (s *settlement) reply(reply *outgoing) {
	if reply != nil {
		s.replies = append(s.replies, reply)
	}
}

func postponed(answers []*answer) []Outcome {
	outcomes := make([]Outcome, len(answers))
	for i := range outcomes {
		outcomes[i] = InDoubt(0, "the participant could not write down the answer; see its log")
	}
	return outcomes
}

func openState(op Operation) State {
	if op == OpUndo {
		return StateUndoInDoubt
	}
	return StateInDoubt
}
