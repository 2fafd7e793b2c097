package worker

import (
	"context"
	_ "embed" // for Schema
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
)

// Schema is the migration, in goose's format, of the tables that a participant needs beside those of its domain. It is
// the first migration of the participant's database, word for word.
//
//go:embed participant.sql
var Schema string

// PruneSchema is a later migration of the same kind: what pruning needs.
//
//go:embed participant_prune.sql
var PruneSchema string

// DismissSchema is the one after that: what dismissing dead letters needs.
//
//go:embed participant_dismiss.sql
var DismissSchema string

// Worker is one participant: it takes commands, hands them to its handlers and replies.
type Worker struct {
	cfg        Config
	pool       *pgxpool.Pool
	log        *slog.Logger
	metrics    *metrics
	tracer     trace.Tracer
	clock      pg.Clock
	replyTopic string
	// source names this participant as the writer of its replies.
	source        string
	registrations []*registration
	byType        map[string]*registration
	// byRow finds a registration by the name that its rows keep.
	byRow      map[string]*registration
	locker     Locker
	calls      *calls
	registerer prometheus.Registerer
	consumer   atomic.Pointer[kafka.Consumer]
	producer   atomic.Pointer[kgo.Client]
	// poked asks the resolver to look now.
	poked chan struct{}
}

// New makes a worker without handlers; add them with Handle and HandleCall. The registerer may be nil.
func New(
	cfg Config, pool *pgxpool.Pool, log *slog.Logger, registerer prometheus.Registerer,
) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Worker{
		cfg:        cfg,
		pool:       pool,
		log:        log.With(slog.String("participant", cfg.Participant)),
		metrics:    newMetrics(cfg.Participant, registerer),
		tracer:     otel.Tracer("recourse.dev/pkg/worker"),
		replyTopic: cfg.Kafka.Topics().ReplyTopic(cfg.Participant),
		source:     "participant/" + cfg.Participant,
		byType:     make(map[string]*registration),
		byRow:      make(map[string]*registration),
		calls:      newCalls(cfg.MaxCalls),
		registerer: registerer,
		poked:      make(chan struct{}, 1),
	}, nil
}

// Now is the clock of the participant's database, by which everything that is due or has ended is decided: all processes
// agree about it, and no step of this machine's clock moves it. Run keeps it right; before Run, ReadClock does.
func (w *Worker) Now() time.Time { return w.clock.Now() }

// ReadClock asks the database for the time.
func (w *Worker) ReadClock(ctx context.Context) error { return w.clock.Read(ctx, w.pool) }

// Close ends outstanding outside calls without waiting for their answers; what they asked stays in doubt and is asked
// again later. Run closes by itself; a worker that is used through Process and Settle alone is closed by its user.
func (w *Worker) Close() { w.calls.close() }

// Check says whether the worker is running and reaches the broker; it is meant for readiness.
func (w *Worker) Check(ctx context.Context) error {
	consumer := w.consumer.Load()
	if consumer == nil {
		return errors.New("the worker is not running")
	}
	if err := consumer.Check(ctx); err != nil {
		return fmt.Errorf("checking participant %s: %w", w.cfg.Participant, err)
	}
	return nil
}

// Outstanding counts the outside calls that are waiting, on their way, or come back and not yet settled.
func (w *Worker) Outstanding() int { return w.calls.outstanding() }

// Await waits until every outside call that is on its way has come back, so that the next Settle finds them all.
func (w *Worker) Await(ctx context.Context) error {
	return w.calls.until(ctx, func() bool { return len(w.calls.ready) == len(w.calls.open) })
}
