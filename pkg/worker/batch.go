package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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

// Process applies the records of one poll in one transaction and returns the replies that are known now. The answers
// to commands that wait for an outside call come out of Settle.
//
// An error means that the database, not a record, was the trouble: nothing is lost when the same records are
// processed again. Records that cannot be applied are parked and are no error.
func (w *Worker) Process(ctx context.Context, records []*kgo.Record) ([]*kgo.Record, error) {
	started, now := time.Now(), w.Now()
	deliveries, room := make([]*delivery, len(records)), make([]delivery, len(records))
	var links []trace.Link
	for i, record := range records {
		deliveries[i] = &room[i]
		w.decode(deliveries[i], record, now)
		if c := deliveries[i].command; c != nil && c.parent.IsValid() {
			links = append(links, trace.Link{SpanContext: c.parent})
		}
	}
	ctx, span := w.tracer.Start(ctx, "worker.batch", trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("participant", w.cfg.Participant), attribute.Int("records", len(records))))
	defer span.End()

	if err := halt.At(ctx, crash.WorkerAfterPoll); err != nil {
		return nil, err
	}
	replies, err := w.handle(ctx, deliveries)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return nil, fmt.Errorf("processing %d records: %w", len(records), err)
	}
	w.metrics.batchRecords.Observe(float64(len(records)))
	w.metrics.batchSeconds.Observe(time.Since(started).Seconds())
	return w.encode(ctx, replies)
}

// handle runs the transaction of a batch. When the batch fails through a fault of its own it is halved until the
// culprit stands alone and is parked; everything else goes through.
func (w *Worker) handle(ctx context.Context, deliveries []*delivery) ([]*outgoing, error) {
	p, err := w.transact(ctx, deliveries, true)
	if _, blamed := blame(err); blamed && len(p.guesses) > 0 {
		// Something that looked new was not, or may not have been.
		w.metrics.wrongGuesses.Inc()
		p, err = w.transact(ctx, deliveries, false)
	}
	if lostRace(err) {
		// The other owner's rows are there now, so their commands are repeats.
		w.metrics.lostRaces.Inc()
		p, err = w.transact(ctx, deliveries, false)
	}
	if err == nil {
		err = halt.At(ctx, crash.WorkerAfterCommit)
	}
	if err == nil {
		p.report(ctx)
		w.calls.start(w, p.calls)
		return p.outgoing(), nil
	}
	reason, blamed := blame(err)
	if !blamed && !contended(err) {
		return nil, err
	}
	if len(deliveries) == 1 {
		culprit := deliveries[0]
		if !blamed || culprit.letter != nil {
			return nil, err
		}
		culprit.park(reason, err, w.Now())
		return w.handle(ctx, deliveries)
	}
	middle := len(deliveries) / 2
	first, err := w.handle(ctx, deliveries[:middle])
	if err != nil {
		return nil, err
	}
	second, err := w.handle(ctx, deliveries[middle:])
	if err != nil {
		return nil, err
	}
	return append(first, second...), nil
}

func (w *Worker) transact(ctx context.Context, deliveries []*delivery, guess bool) (*poll, error) {
	var p *poll
	err := pg.InBatches(ctx, w.pool, func(first *pgx.Batch) {
		p = &poll{w: w, now: w.Now(), deliveries: deliveries, replies: make([]*outgoing, len(deliveries))}
		p.load(first, guess)
	}, func(tx pgx.Tx, last *pgx.Batch) error {
		return p.run(ctx, tx, last)
	})
	return p, err
}

// poll is one try of the transaction of a batch.
type poll struct {
	w          *Worker
	now        time.Time
	deliveries []*delivery
	// rounds are places in deliveries: commands of one effect are applied in turn, in the order of arrival.
	rounds [][]int
	rows   map[rowKey]*storedRow
	// guesses are the effects that are taken for absent without a look.
	guesses []rowKey
	// mark is the time before which rows may have been pruned; zero when no command of the poll is so old.
	mark time.Time
	// replies stand at the place of their delivery; nil where there is none yet, or never.
	replies  []*outgoing
	calls    []*command
	letters  []deadletter.Letter
	verdicts []verdictCount
}

// verdictCount says how many commands of a poll were alike.
type verdictCount struct {
	messageType string
	verdict     Verdict
	row         State
	commands    int
}

// count is about a handful of kinds: to look through them is quicker than to hash them.
func (p *poll) count(messageType string, verdict Verdict, row State) {
	for i := range p.verdicts {
		v := &p.verdicts[i]
		if v.messageType == messageType && v.verdict == verdict && v.row == row {
			v.commands++
			return
		}
	}
	p.verdicts = append(p.verdicts, verdictCount{messageType, verdict, row, 1})
}

// load puts the commands into rounds and asks for their rows.
//
// Nearly every command is the first of its effect and has no row. With guess, those that look like it are not asked for:
// every guess is stored as a new row in the end, which the primary key refuses when there is one already. Then nothing of
// the poll has happened, and it is run again with a look at all rows.
func (p *poll) load(first *pgx.Batch, guess bool) {
	type turn struct {
		// met is how often the key has been met.
		met   int
		asked bool
	}
	turns := make(map[rowKey]turn, len(p.deliveries))
	var asked []rowKey
	for i, d := range p.deliveries {
		if d.letter != nil {
			p.letters = append(p.letters, *d.letter)
			continue
		}
		key := d.command.key()
		t := turns[key]
		if !t.asked && (!guess || !p.looksNew(d.command)) {
			asked = append(asked, key)
			t.asked = true
		}
		if t.met == len(p.rounds) {
			p.rounds = append(p.rounds, make([]int, 0, len(p.deliveries)-i))
		}
		p.rounds[t.met] = append(p.rounds[t.met], i)
		t.met++
		turns[key] = t
	}
	p.rows = make(map[rowKey]*storedRow, len(turns))
	loadRows(first, asked, p.rows)
	for key, t := range turns {
		if !t.asked {
			p.guesses = append(p.guesses, key)
		}
	}
}

// looksNew says that a command is probably the first of its effect. It is young, too: of what is older the row may have
// been pruned, and then no primary key knows it.
func (p *poll) looksNew(c *command) bool {
	return c.op == OpDo && c.Attempt == 1 && p.now.Sub(c.born()) <= young
}

// checkGuesses finds a guess that nothing would prove, because no row is stored: a handler that says Retry.
func (p *poll) checkGuesses() error {
	for _, key := range p.guesses {
		if p.rows[key] == nil {
			return &fault{deadletter.HandlerRefused, fmt.Errorf("nobody knows whether step %s was done before", key.step)}
		}
	}
	return nil
}

func (p *poll) run(ctx context.Context, tx pgx.Tx, last *pgx.Batch) error {
	if err := halt.At(ctx, crash.WorkerAfterLoad); err != nil {
		return err
	}
	if err := p.readMark(ctx, tx); err != nil {
		return err
	}
	if err := p.lock(ctx, tx); err != nil {
		return err
	}
	for _, round := range p.rounds {
		if err := p.round(ctx, tx, round); err != nil {
			return err
		}
	}
	if err := halt.At(ctx, crash.WorkerAfterHandle); err != nil {
		return err
	}
	if err := p.checkGuesses(); err != nil {
		return err
	}
	if len(p.letters) > 0 {
		if err := deadletter.Park(ctx, tx, p.letters); err != nil {
			return err
		}
		if err := crash.Fail(crash.WorkerAfterPark); err != nil {
			return err
		}
	}
	storeRows(last, p.rows)
	return halt.At(ctx, crash.WorkerBeforeCommit)
}

// lock lets the domain lock rows for all kinds of commands at once; see Locker.
func (p *poll) lock(ctx context.Context, tx pgx.Tx) error {
	if p.w.locker == nil {
		return nil
	}
	var commands []Input
	for n, round := range p.rounds {
		for _, i := range round {
			c := p.deliveries[i].command
			verdict := Decide(p.rows[c.key()].pure(), c.op)
			// What the second command of an effect meets is known only after the first; a lock too many does no harm.
			if n > 0 || verdict == RunDo || verdict == RunUndo {
				commands = append(commands, c.input)
			}
		}
	}
	if len(commands) == 0 {
		return nil
	}
	_, err := guard("a poll's locks", 0, func() ([]Outcome, error) { return nil, p.w.locker(ctx, tx, commands) })
	return err
}

// round applies deliveries of different effects: what the rows know is answered, the rest goes to the domain.
func (p *poll) round(ctx context.Context, tx pgx.Tx, indexes []int) error {
	type group struct {
		reg *registration
		op  Operation
	}
	fresh := make(map[group][]int)
	for _, i := range indexes {
		c := p.deliveries[i].command
		row := p.rows[c.key()]
		if err := p.w.fits(row, c); err != nil {
			p.letters = append(p.letters, deadletter.New(p.deliveries[i].record, deadletter.HandlerRefused, err, p.now))
			continue
		}
		if err := p.tooOld(row, c); err != nil {
			p.letters = append(p.letters, deadletter.New(p.deliveries[i].record, deadletter.TooOld, err, p.now))
			continue
		}
		verdict := Decide(row.pure(), c.op)
		state := StateAbsent
		if row != nil {
			state = row.State
		}
		p.count(c.messageType(), verdict, state)
		switch verdict {
		case RunDo, RunUndo:
			fresh[group{c.reg, c.op}] = append(fresh[group{c.reg, c.op}], i)
			continue
		case StoreVoid:
			tombstone := newRow(c)
			row = &tombstone
			row.Row = Void()
			p.rows[c.key()] = row
		case RepeatReply:
			if err := crash.Fail(crash.WorkerAfterRepeat); err != nil {
				return err
			}
		case SayNothing, SayFenced, SayInDoubt, RememberUndo:
		}
		reply, err := p.w.known(row, c, verdict, p.now)
		if err != nil {
			return err
		}
		p.replies[i] = reply
	}
	// In the order of registration, so that two batches take the locks of the domain's tables in the same order.
	for _, reg := range p.w.registrations {
		for _, op := range []Operation{OpDo, OpUndo} {
			if err := p.domain(ctx, tx, op, fresh[group{reg, op}]); err != nil {
				return err
			}
		}
	}
	return nil
}

// domain hands commands of one kind to their handler and writes down what it says.
func (p *poll) domain(ctx context.Context, tx pgx.Tx, op Operation, indexes []int) error {
	if len(indexes) == 0 {
		return nil
	}
	batch := make([]*command, len(indexes))
	for n, i := range indexes {
		batch[n] = p.deliveries[i].command
	}
	replies, calls, err := p.w.decide(ctx, tx, p.rows, batch, op, p.now)
	if err != nil {
		return err
	}
	for n, i := range indexes {
		p.replies[i] = replies[n]
	}
	p.calls = append(p.calls, calls...)
	return nil
}

// fits refuses a command that names the effect of another one.
func (w *Worker) fits(row *storedRow, c *command) error {
	if row == nil || w.byRow[row.commandType] == c.reg {
		return nil
	}
	return fmt.Errorf("%s names effect %s, which belongs to %s", c.messageType(), c.Key, row.commandType)
}

func (p *poll) outgoing() []*outgoing {
	return slices.DeleteFunc(p.replies, func(reply *outgoing) bool { return reply == nil })
}

// report tells metrics and log what the committed transaction did.
func (p *poll) report(ctx context.Context) {
	for _, v := range p.verdicts {
		p.w.metrics.commands.WithLabelValues(v.messageType, string(v.verdict), v.row.String()).
			Add(float64(v.commands))
	}
	for i := range p.letters {
		letter := &p.letters[i]
		p.w.metrics.parked.WithLabelValues(string(letter.Reason)).Inc()
		p.w.log.ErrorContext(ctx, "record parked",
			slog.String("reason", string(letter.Reason)), slog.String("topic", letter.Topic),
			slog.Int("partition", int(letter.Partition)), slog.Int64("offset", letter.Offset),
			slog.String("dead_letter", letter.ID.String()), slog.String("error", letter.Error))
	}
}
