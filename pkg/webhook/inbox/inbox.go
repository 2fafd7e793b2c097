package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/worker"
)

// Event is what a service reads out of a webhook's body. Everything may be empty: what is signed is kept.
type Event struct {
	ID string
	// Type is the provider's word for what has happened.
	Type string
	// Object is the provider's name of what it is about, Reference ours as the provider repeats it.
	Object    string
	Reference string
	CreatedAt time.Time
}

// News is what a service knows about the object of an event.
type News struct {
	// Known says that the object belongs to something here.
	Known bool
	// Open are the effects that may be in doubt about it.
	Open []worker.Effect
}

// Config says whose events they are and what they are about.
type Config struct {
	// Source names the provider; with the event's id it is the key.
	Source string
	// Keys verify; without any, every event is refused.
	Keys []webhook.Key
	// Read takes a body apart. It is called after the signature was found right.
	Read func(body []byte) Event
	// Find looks up what events are about, one News for each, in one statement for all.
	Find func(ctx context.Context, tx pgx.Tx, events []Event) ([]News, error)
	// Every is how often events are looked for that another process left behind; default 1 s.
	Every time.Duration
	// Keep is how long events are kept; default 90 days. It must be longer than the provider sends one again.
	Keep time.Duration
	// Now is the clock; default the worker's.
	Now func() time.Time
}

// MinKeep is the shortest time that an event may be kept: providers send one again for three days.
const MinKeep = 4 * 24 * time.Hour

const (
	maxBatch   = 500
	pruneEvery = time.Hour
	// again is how long an event waits for a call that is on its way; what comes meanwhile is looked at together with it.
	again = 100 * time.Millisecond
	// storeLinger and storePause let events share a transaction: a provider waits for seconds, and nobody else does.
	storeLinger = 5 * time.Millisecond
	storePause  = 25 * time.Millisecond
	// maxText bounds the texts of an event that are columns; its payload holds them whole.
	maxText = 255
)

// Outcomes of events.
const (
	outcomeWoke    = "woke"
	outcomeSettled = "settled"
	outcomeUnknown = "unknown"
	// outcomeOpen is none: the event has to be looked at again. In the table that is NULL.
	outcomeOpen = ""
	// outcomeWaiting is what people see while there is none.
	outcomeWaiting = "waiting"
)

// Inbox is the receiving end of one provider's webhooks.
type Inbox struct {
	config Config
	pool   *pgxpool.Pool
	worker *worker.Worker
	log    *slog.Logger
	events *prometheus.CounterVec
	store  *coalesce.Group[received, bool]
	// waits has a token when a stored event has to be looked at again.
	waits chan struct{}
}

type received struct {
	Event
	payload []byte
	at      time.Time
}

// New makes an inbox that wakes the worker's effects. The registerer may be nil.
func New(
	config Config, pool *pgxpool.Pool, w *worker.Worker, log *slog.Logger, registerer prometheus.Registerer,
) *Inbox {
	config.Every = cmp.Or(config.Every, time.Second)
	config.Keep = cmp.Or(config.Keep, 90*24*time.Hour)
	if config.Now == nil {
		config.Now = w.Now
	}
	b := &Inbox{
		config: config, pool: pool, worker: w, log: log, waits: make(chan struct{}, 1),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "recourse", Subsystem: "webhook", Name: "events_total",
			Help: "Webhooks by what became of them: received, duplicate and refused at the door; woke, settled and " +
				"unknown once looked at.",
		}, []string{"result"}),
	}
	for _, result := range []string{"received", "duplicate", "refused", outcomeWoke, outcomeSettled, outcomeUnknown} {
		b.events.WithLabelValues(result)
	}
	if registerer != nil {
		registerer.MustRegister(b.events)
	}
	b.store = coalesce.New(b.keep, coalesce.Options{Linger: storeLinger, Pause: storePause})
	return b
}

// Receive verifies a webhook and stores it. When it returns nil the event is in the database, now or since an earlier
// delivery. An error is a problem to answer with.
func (b *Inbox) Receive(ctx context.Context, header http.Header, body []byte) error {
	now := b.config.Now()
	id, err := webhook.Verify(header, b.config.Keys, body, now)
	if err != nil {
		b.events.WithLabelValues("refused").Inc()
		b.log.WarnContext(ctx, "webhook refused", slog.String("source", b.config.Source), slog.String("reason", err.Error()))
		return b.problem(err)
	}
	r := received{Event: b.config.Read(body), payload: body, at: now}
	r.ID = id
	if r.CreatedAt.IsZero() {
		r.CreatedAt = now
	}
	fresh, err := b.store.Do(ctx, r)
	if err == nil {
		err = crash.Fail(crash.InboxAfterStore)
	}
	if err != nil {
		return err
	}
	result := "duplicate"
	if fresh {
		result = "received"
	}
	b.events.WithLabelValues(result).Inc()
	return nil
}

// keep stores the deliveries that came together, each with what it came to: most have nothing to wait for, and their
// rows are written once. Events that cannot be looked at now are stored all the same, and looked at later. It says for
// each delivery whether its event was new.
func (b *Inbox) keep(ctx context.Context, batch []received) (fresh []bool, err error) {
	var outcomes []string
	events := make([]Event, len(batch))
	for i, r := range batch {
		events[i] = r.Event
		events[i].Object, events[i].Reference = short(r.Object), short(r.Reference)
	}
	err = pg.InTx(ctx, b.pool, func(tx pgx.Tx) (err error) {
		if outcomes, err = b.look(ctx, tx, events); err != nil {
			return err
		}
		fresh, err = store(ctx, tx, b.config.Source, batch, outcomes, b.config.Now())
		return err
	})
	if err != nil && ctx.Err() == nil && !pg.IsTransient(err) {
		b.log.WarnContext(ctx, "looking at webhooks failed; they are kept and looked at again",
			slog.String("error", err.Error()))
		outcomes = make([]string, len(batch))
		err = pg.InTx(ctx, b.pool, func(tx pgx.Tx) (err error) {
			fresh, err = store(ctx, tx, b.config.Source, batch, outcomes, b.config.Now())
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	// Here and not where the caller is answered: a provider that hangs up early has told its news all the same.
	counts := make(map[string]int)
	for i, outcome := range outcomes {
		if fresh[i] {
			counts[outcome]++
		}
	}
	b.count(counts)
	return fresh, nil
}

// count tells the metrics and the worker what events came to.
func (b *Inbox) count(outcomes map[string]int) {
	for outcome, n := range outcomes {
		if outcome == outcomeOpen {
			signal(b.waits)
			continue
		}
		b.events.WithLabelValues(outcome).Add(float64(n))
	}
	if outcomes[outcomeWoke] > 0 {
		b.worker.Poke()
	}
}

func (b *Inbox) problem(err error) error {
	switch {
	case len(b.config.Keys) == 0:
		return httpserver.NewProblem(httpserver.CodeSignatureInvalid,
			"No webhook can be verified here: set WEBHOOK_SECRET to the provider's secret.", httpserver.WithCause(err))
	case errors.Is(err, webhook.ErrStale):
		return httpserver.NewProblem(httpserver.CodeSignatureExpired, fmt.Sprintf(
			"It was signed more than %s from our clock. Sign each try anew, and compare the clocks.", webhook.Tolerance),
			httpserver.WithCause(err))
	case errors.Is(err, webhook.ErrForged):
		return httpserver.NewProblem(httpserver.CodeSignatureInvalid,
			"None of the signatures was made with our secret over this id, time and body.", httpserver.WithCause(err))
	default:
		return httpserver.NewProblem(httpserver.CodeSignatureInvalid, err.Error()+".", httpserver.WithCause(err))
	}
}

// Run looks at the events that had to wait, until ctx ends.
func (b *Inbox) Run(ctx context.Context) error {
	var pruned time.Time
	for {
		if time.Since(pruned) > pruneEvery {
			pruned = time.Now()
			b.prune(ctx)
		}
		pause := b.config.Every
		left, err := b.Process(ctx)
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "looking at webhooks failed; trying again", slog.String("error", err.Error()))
		}
		if err == nil && left > 0 {
			pause = again
		}
		if !b.wait(ctx, pause) {
			return nil
		}
	}
}

// wait waits for the time, or for a shorter one when an event comes that has to be looked at again. It is false when ctx
// has ended.
func (b *Inbox) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	waits := b.waits
	for {
		select {
		case <-ctx.Done():
			return false
		case <-waits:
			waits = nil
			timer.Reset(min(pause, again))
		case <-timer.C:
			return true
		}
	}
}

// prune deletes events that were looked at long ago, in small batches.
func (b *Inbox) prune(ctx context.Context) {
	for {
		n, err := prune(ctx, b.pool, b.config.Source, b.config.Keep)
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "pruning webhooks failed; trying again later", slog.String("error", err.Error()))
		}
		if err != nil || n < maxBatch {
			return
		}
	}
}

// Close waits until the events that are being stored are stored.
func (b *Inbox) Close() { b.store.Close() }

// Process looks at the stored events that have come to nothing yet, in one transaction, and returns how many have to wait
// for a call that is on its way.
func (b *Inbox) Process(ctx context.Context) (left int, err error) {
	var counts map[string]int
	err = pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		counts, left = map[string]int{}, 0
		events, err := loadOpen(ctx, tx, b.config.Source)
		if err != nil || len(events) == 0 {
			return err
		}
		all, err := b.look(ctx, tx, events)
		if err != nil {
			return err
		}
		ids, outcomes := make([]string, 0, len(events)), make([]string, 0, len(events))
		for i, outcome := range all {
			if outcome == outcomeOpen {
				left++
				continue
			}
			ids, outcomes = append(ids, events[i].ID), append(outcomes, outcome)
			counts[outcome]++
		}
		return finish(ctx, tx, b.config.Source, ids, outcomes, b.config.Now())
	})
	if err == nil && len(counts) > 0 {
		err = crash.Fail(crash.InboxAfterProcess)
	}
	if err != nil {
		return 0, err
	}
	b.count(counts)
	return left, nil
}

// look finds out what events are about, wakes what is in doubt about it, and says what each came to.
func (b *Inbox) look(ctx context.Context, tx pgx.Tx, events []Event) (outcomes []string, err error) {
	news, err := b.config.Find(ctx, tx, events)
	if err != nil {
		return nil, err
	}
	var asked []worker.Effect
	for _, n := range news {
		asked = append(asked, n.Open...)
	}
	open, err := b.worker.Wake(ctx, tx, asked)
	if err != nil {
		return nil, err
	}
	outcomes = make([]string, len(events))
	for i, n := range news {
		outcomes[i] = judge(n, open)
	}
	return outcomes, nil
}

// judge says what an event came to: it is still open when a call about it is on its way.
func judge(n News, open map[worker.Effect]bool) string {
	outcome := outcomeUnknown
	if n.Known {
		outcome = outcomeSettled
	}
	for _, effect := range n.Open {
		woken, inDoubt := open[effect]
		switch {
		case inDoubt && !woken:
			return outcomeOpen
		case inDoubt:
			outcome = outcomeWoke
		}
	}
	return outcome
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
