package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/migrations"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/service"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// Group is the consumer group of all coordinators of one system.
const Group = "coordinator"

// sagasKept is how many sagas are remembered at least; one is about three kilobytes, a third of it its order's document.
const sagasKept = 8_000

// Service is a coordinator: New wires it, Run runs it.
type Service struct {
	config     Config
	log        *slog.Logger
	pool       *pgxpool.Pool
	readers    *pgxpool.Pool
	producer   *kgo.Client
	server     *httpserver.Server
	consumer   *kafka.Consumer
	engine     *engine
	intake     *intake
	dispatcher *dispatcher
	outbox     *outbox
	lags       *lags
	admission  *admission
	watch      *watch
	timers     *timers
	waits      chan struct{}
}

// Migrate brings the database and the topics to the shape that this build needs.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	if err := config.Validate(); err != nil {
		return err
	}
	catalogue, err := newCatalogue(&config)
	if err != nil {
		return err
	}
	pool, err := openPool(ctx, config, 4, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	applied, err := pg.Migrate(ctx, pool, migrations.FS("coordinator"))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "database migrated", "applied", applied)
	keeper := &housekeeping{pool: pool, log: log}
	keeper.months(ctx)
	return kafka.EnsureTopics(ctx, config.Kafka, log, catalogue.topics(config.Kafka.Topics())...)
}

// openPools divides the connections: however many questions are asked, the doors have theirs.
func openPools(ctx context.Context, config Config, log *slog.Logger) (doors, readers *pgxpool.Pool, err error) {
	forReaders := max(1, config.DatabaseConns/4)
	if doors, err = openPool(ctx, config, config.DatabaseConns-forReaders, log); err != nil {
		return nil, nil, err
	}
	if readers, err = openPool(ctx, config, forReaders, log); err != nil {
		doors.Close()
		return nil, nil, err
	}
	return doors, readers, nil
}

func openPool(ctx context.Context, config Config, conns int32, log *slog.Logger) (*pgxpool.Pool, error) {
	return pg.Open(ctx, pg.Config{
		URL: config.DatabaseURL.Reveal(), AppName: "recourse-coordinator", MaxConns: conns,
		Wait: config.DatabaseWait, Log: log,
	})
}

// New checks what a coordinator needs (the schema, a database that keeps its word, the topics) and wires it.
func New(ctx context.Context, config Config, log *slog.Logger) (_ *Service, err error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	catalogue, err := newCatalogue(&config)
	if err != nil {
		return nil, err
	}
	topics := config.Kafka.Topics()
	pool, readers, err := openPools(ctx, config, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			readers.Close()
			pool.Close()
		}
	}()
	if err := pg.CheckMigrated(ctx, pool, migrations.FS("coordinator")); err != nil {
		return nil, err
	}
	if err := pg.CheckDurable(ctx, pool); err != nil {
		return nil, err
	}
	if err := pg.CheckClock(ctx, pool); err != nil {
		return nil, err
	}
	if err := kafka.CheckTopics(ctx, config.Kafka, log, catalogue.topics(topics)...); err != nil {
		return nil, err
	}
	if err := checkRetention(ctx, config, log, catalogue.topics(topics)...); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	pg.RegisterClock(registry, pool)
	deadletter.RegisterOpen(registry, readers)
	producer, err := kafka.NewProducer(config.Kafka, "coordinator-producer", log, registry)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			producer.Close()
		}
	}()

	m := newMetrics(registry)
	s := &Service{
		config: config, log: log, pool: pool, readers: readers, producer: producer, waits: make(chan struct{}, maxWaits),
	}
	s.engine = &engine{
		pool: pool, catalogue: catalogue, commandTopics: catalogue.commandTopics(topics),
		partition: newPartitioner(config.Kafka.Partitions),
		hand:      newHand(sagasKept), metrics: m, log: log,
	}
	s.dispatcher = newDispatcher(producer, m, log)
	s.outbox = newOutbox(pool, producer, topics.OrderEventsTopic(), log)
	s.watch = newWatch(readers, log)
	s.admission = newAdmission(
		terms{within: config.AdmitWithin, backlog: config.MaxBacklog}, catalogue.fulfilment, catalogue.participants(), readers, m)
	s.lags = newLags(producer, topics, catalogue.participants(), s.admission, m, log)
	s.timers = &timers{
		engine: s.engine, dispatcher: s.dispatcher, pool: pool, lags: s.lags, alarms: newAlarms(), log: log,
		clock:    &s.engine.clock,
		maxBatch: config.MaxBatch, every: config.ScanInterval, holdBack: config.HoldBack,
		rate: newBucket(config.TimerRate, config.MaxBatch), budget: newBudget(time.Now()), rescan: make(chan struct{}, 1),
	}
	s.engine.committed = []func(*turn){s.timers.hear, s.timers.budget.hear, s.outbox.hear, s.watch.hear, m.hear}
	s.intake = newIntake(s.engine, s.dispatcher, config.MaxWaiting)
	// Several coordinators share the tokens as they share the partitions. One that has none yet takes orders too.
	s.admission.share = func() float64 {
		return max(1, float64(len(s.timers.partitions()))) / float64(config.Kafka.Partitions)
	}
	s.admission.pending = func() int { return s.intake.waiting() + s.dispatcher.waiting() }
	s.gauges(registry)
	if err := s.newConsumer(catalogue, registry); err != nil {
		return nil, err
	}
	if err := s.engine.seeDefinitions(ctx); err != nil {
		return nil, err
	}
	if err := s.engine.clock.Read(ctx, pool); err != nil {
		return nil, err
	}
	// Last, because a listener is taken with it.
	if err := s.newServer(ctx, catalogue, registry); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Service) newConsumer(c *catalogue, registry *prometheus.Registry) (err error) {
	topics := s.config.Kafka.Topics()
	door := &replies{
		engine: s.engine, dispatcher: s.dispatcher, maxBatch: s.config.MaxBatch, speakers: c.speakers(topics), log: s.log,
	}
	names := make([]string, 0, len(door.speakers))
	for _, p := range c.participants() {
		names = append(names, topics.ReplyTopic(p))
	}
	s.consumer, err = kafka.NewConsumer(s.config.Kafka, "coordinator-consumer", kafka.ConsumerOptions{
		Group: topics.Group(Group), Topics: names, Handle: door.handle, MaxRecords: lanes * s.config.MaxBatch,
		OnAssigned: s.timers.assigned, OnRevoked: s.timers.revoked,
	}, s.log, registry)
	return err
}

func (s *Service) newServer(ctx context.Context, c *catalogue, registry *prometheus.Registry) error {
	spec, err := coordinatorapi.GetSpec()
	if err != nil {
		return fmt.Errorf("reading the API's description: %w", err)
	}
	s.server, err = httpserver.New(httpserver.Options{
		Addr: s.config.HTTPAddr, Spec: spec, Registry: registry, Log: s.log, Unavailable: pg.IsTransient,
		Checks: s.checks(c), Before: []echo.MiddlewareFunc{s.admission.middleware},
	})
	if err != nil {
		return err
	}
	handlers := &api{
		catalogue: c, intake: s.intake, reader: &reader{pool: s.readers, catalogue: c}, watch: s.watch, lags: s.lags,
		producer: s.producer, waits: s.waits, log: s.log,
	}
	coordinatorapi.RegisterHandlers(s.server.Echo(),
		routes{ServerInterface: coordinatorapi.NewStrictHandler(handlers, nil), api: handlers})
	return s.server.Listen(ctx)
}

// checks decide about readiness.
func (s *Service) checks(c *catalogue) []httpserver.Check {
	return []httpserver.Check{
		{Name: "database", Check: s.pool.Ping},
		{Name: "broker", Check: s.consumer.Check},
		{Name: "topics", Check: func(ctx context.Context) error {
			return kafka.CheckTopics(ctx, s.config.Kafka, s.log, c.topics(s.config.Kafka.Topics())...)
		}},
		{Name: "replies", Check: func(context.Context) error {
			if len(s.timers.partitions()) == 0 {
				return errors.New("no partition is assigned: a rebalance, or more coordinators than partitions")
			}
			return nil
		}},
		{Name: "timers", Check: func(context.Context) error {
			at := s.timers.scanned.Load()
			if at == nil {
				return errors.New("open sagas were never scanned")
			}
			if ago := time.Since(*at); ago > 3*s.config.ScanInterval+5*time.Second {
				return fmt.Errorf("open sagas were last scanned %s ago", ago.Round(time.Second))
			}
			return nil
		}},
	}
}

func (s *Service) gauges(reg prometheus.Registerer) {
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "recourse", Subsystem: "coordinator", Name: name, Help: help,
		}, read))
	}
	gauge("watched_sagas", "Open sagas whose timers are watched here.", func() float64 {
		return float64(s.timers.alarms.len())
	})
	gauge("oldest_due_seconds", "How late the most overdue timer is.", func() float64 {
		next := s.timers.alarms.next()
		if next.IsZero() {
			return 0
		}
		return max(0, s.timers.clock.Now().Sub(next).Seconds())
	})
	gauge("waiting_requests", "Requests that wait for their transaction.", func() float64 {
		return float64(s.intake.waiting())
	})
	gauge("awaited_ends", "Requests that wait for the end of their order (Prefer: wait).", func() float64 {
		return float64(len(s.waits))
	})
}

// Addr is where the API is served.
func (s *Service) Addr() string { return s.server.Addr() }

// Close gives back what New took, for a service that is not run after all.
func (s *Service) Close() {
	s.intake.close()
	s.admission.known.Close()
	s.producer.Close()
	s.readers.Close()
	s.pool.Close()
}

// Run works until ctx ends and then drains: readiness turns red, intake ends, the batch in hand is finished, offsets
// are committed, commands and events are flushed, and last the pool is closed.
func (s *Service) Run(ctx context.Context) error {
	keeper := &housekeeping{pool: s.pool, clock: &s.engine.clock, log: s.log}
	closing := func(end func()) func(context.Context) error {
		return func(context.Context) error { end(); return nil }
	}
	return service.Run(ctx, s.log, s.config.DrainTimeout,
		service.Component{Name: "pool", Stop: closing(s.pool.Close)},
		service.Component{Name: "readers", Stop: closing(s.readers.Close)},
		service.Component{Name: "producer", Stop: closing(s.producer.Close)},
		service.Component{Name: "outbox", Run: s.outbox.run},
		service.Component{Name: "dispatcher", Run: s.dispatcher.run},
		service.Component{Name: "lags", Run: s.lags.run},
		service.Component{Name: "watch", Run: s.watch.run},
		service.Component{Name: "housekeeping", Run: keeper.run},
		service.Component{Name: "pruning", Run: s.pruner().run},
		service.Component{Name: "timers", Run: s.timers.run},
		service.Component{Name: "replies", Run: s.consumer.Run},
		service.Component{Name: "intake", Stop: closing(func() {
			s.intake.close()
			crash.Point(crash.CoordinatorAfterIntakeClosed)
		})},
		service.Component{Name: "admission", Stop: closing(s.admission.known.Close)},
		s.server.Component(),
	)
}
