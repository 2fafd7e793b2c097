package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"recourse.dev/migrations"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// Service is the inventory process: a worker for sagas, a sweeper for expired holds, and an API for the shop.
type Service struct {
	config  Config
	log     *slog.Logger
	pool    *pgxpool.Pool
	server  *httpserver.Server
	sweeper *Sweeper
	worker  *worker.Worker
}

// New connects, refuses a database or broker that is not fit, and takes its HTTP address. It does no work before Run.
func New(ctx context.Context, config Config, log *slog.Logger) (_ *Service, err error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("configuring inventory: %w", err)
	}
	config = config.withDefaults()
	s := &Service{config: config, log: log}
	if s.pool, err = openPool(ctx, config, log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.pool.Close()
		}
	}()
	if err := pg.CheckDurable(ctx, s.pool); err != nil {
		return nil, err
	}
	if err := pg.CheckClock(ctx, s.pool); err != nil {
		return nil, err
	}
	if err := pg.CheckMigrated(ctx, s.pool, migrations.FS(participant)); err != nil {
		return nil, err
	}
	if err := kafka.CheckTopics(ctx, config.Kafka, log, topics(config.Kafka)...); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	pg.RegisterClock(registry, s.pool)
	deadletter.RegisterOpen(registry, s.pool)

	s.worker, err = worker.New(worker.Config{
		Participant:  participant,
		Build:        participant + "/" + service.Version().String(),
		Kafka:        config.Kafka,
		MaxBatch:     config.MaxBatch,
		DrainTimeout: config.DrainTimeout / 2,
		KeepSteps:    config.KeepSteps.Duration(),
		KeepLetters:  config.KeepLetters.Duration(),
	}, s.pool, log, registry)
	if err != nil {
		return nil, err
	}
	if err := s.worker.ReadClock(ctx); err != nil {
		return nil, err
	}
	NewHandler(s.worker.Now).Register(s.worker)
	s.sweeper = NewSweeper(s.pool, config.SweepEvery, s.worker.Now, log, registry)

	spec, err := inventoryapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("reading the API's description: %w", err)
	}
	s.server, err = httpserver.New(httpserver.Options{
		Addr:        config.HTTPAddr,
		Spec:        spec,
		Registry:    registry,
		Log:         log,
		Unavailable: pg.IsTransient,
		BodyLimit:   256 << 10, // a receipt of 500 lines
		Checks: []httpserver.Check{
			{Name: "database", Check: s.pool.Ping},
			{Name: "kafka", Check: s.worker.Check},
		},
	})
	if err != nil {
		return nil, err
	}
	NewAPI(s.pool, s.worker.Now, s.worker.Redrive, log).Register(s.server.Echo())
	return s, s.server.Listen(ctx)
}

// Addr is where the API is served, known after New.
func (s *Service) Addr() string { return s.server.Addr() }

// Run works until ctx ends, finishes what it has in hand and returns nil.
func (s *Service) Run(ctx context.Context) error {
	return service.Run(ctx, s.log, s.config.DrainTimeout,
		service.Component{Name: "database", Stop: func(context.Context) error {
			s.pool.Close()
			return nil
		}},
		service.Component{Name: "sweeper", Run: s.sweeper.Run},
		service.Component{Name: "worker", Run: s.worker.Run},
		s.server.Component(),
	)
}

// Serve is New and Run.
func Serve(ctx context.Context, config Config, log *slog.Logger) error {
	s, err := New(ctx, config, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Migrate brings database and topics to the shape that this build needs.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	if err := config.Validate(); err != nil {
		return fmt.Errorf("configuring inventory: %w", err)
	}
	pool, err := openPool(ctx, config.withDefaults(), log)
	if err != nil {
		return err
	}
	defer pool.Close()
	applied, err := pg.Migrate(ctx, pool, migrations.FS(participant))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "database migrated", slog.Int("applied", applied))
	return kafka.EnsureTopics(ctx, config.Kafka, log, topics(config.Kafka)...)
}

func openPool(ctx context.Context, config Config, log *slog.Logger) (*pgxpool.Pool, error) {
	const wait = 30 * time.Second // containers start in any order
	return pg.Open(ctx, pg.Config{
		URL: config.DatabaseURL.Reveal(), AppName: participant, MaxConns: config.DatabaseConns, Wait: wait, Log: log,
	})
}

func topics(config kafka.Config) []string {
	return []string{config.Topics().CommandTopic(participant), config.Topics().ReplyTopic(participant)}
}
