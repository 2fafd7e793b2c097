package shipping

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/migrations"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// Participant names the service in topics, consumer group, metrics and database.
const Participant = "shipping"

// Service is the whole process: worker and API over one database.
type Service struct {
	config  Config
	log     *slog.Logger
	pool    *pgxpool.Pool
	carrier *HTTPCarrier
	handler *handler
	worker  *worker.Worker
	inbox   *inbox.Inbox
	server  *httpserver.Server
}

// New wires the service. It refuses a database or topics that it cannot work with, naming what is wrong.
func New(ctx context.Context, config Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("configuring shipping: %w", err)
	}
	carrier, err := NewHTTPCarrier(
		config.CarrierURL, config.CarrierAPIKey.Reveal(), config.CarrierTimeout, config.MaxCalls)
	if err != nil {
		return nil, fmt.Errorf("configuring shipping: %w", err)
	}
	pool, err := pg.Open(ctx, pg.Config{
		URL: config.DatabaseURL.Reveal(), AppName: Participant, MaxConns: config.DatabaseConns, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("opening shipping's database: %w", err)
	}
	s := &Service{config: config, log: log, pool: pool, carrier: carrier}
	if err := s.wire(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) wire(ctx context.Context) error {
	if err := pg.CheckDurable(ctx, s.pool); err != nil {
		return err
	}
	if err := pg.CheckClock(ctx, s.pool); err != nil {
		return err
	}
	if err := pg.CheckMigrated(ctx, s.pool, migrations.FS(Participant)); err != nil {
		return err
	}
	if err := kafka.CheckTopics(ctx, s.config.Kafka, s.log, topics(s.config)...); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	pg.RegisterClock(registry, s.pool)
	deadletter.RegisterOpen(registry, s.pool)
	var err error
	s.worker, err = worker.New(worker.Config{
		Participant: Participant,
		Build:       Participant + "/" + service.Version().String(),
		Kafka:       s.config.Kafka,
		MaxBatch:    s.config.MaxBatch,
		MaxCalls:    s.config.MaxCalls,
		CallTimeout: s.config.callTimeout(),
		ProbeDelays: s.config.ProbeDelays,
		ProbeEvery:  s.config.ProbeEvery,
		KeepSteps:   s.config.KeepSteps.Duration(),
		KeepLetters: s.config.KeepLetters.Duration(),
	}, s.pool, s.log, registry)
	if err != nil {
		return err
	}
	s.handler = newHandler(s.pool, s.carrier, s.config.UnitWeightG, s.config.CarrierVisibility)
	s.handler.register(s.worker)
	keys, err := webhook.ParseKeys(s.config.WebhookSecret, s.config.WebhookSecretPrevious)
	if err != nil {
		return fmt.Errorf("reading WEBHOOK_SECRET: %w", err)
	}
	s.inbox = newInbox(s.pool, s.worker, s.carrier.Name(), keys, s.config.ProbeEvery, s.config.KeepWebhooks.Duration(),
		s.log, registry)

	spec, err := shippingapi.GetSpec()
	if err != nil {
		return fmt.Errorf("reading the API's description: %w", err)
	}
	s.server, err = httpserver.New(httpserver.Options{
		Addr:     s.config.HTTPAddr,
		Spec:     spec,
		Registry: registry,
		Log:      s.log,
		Checks: []httpserver.Check{
			{Name: "database", Check: s.pool.Ping},
			{Name: "worker", Check: s.worker.Check},
		},
		Unavailable: pg.IsTransient,
	})
	if err != nil {
		return err
	}
	shippingapi.RegisterHandlers(s.server.Echo(), shippingapi.NewStrictHandler(&routes{pool: s.pool, redrive: s.worker.Redrive, inbox: s.inbox}, nil))
	return s.server.Listen(ctx)
}

// Addr is host:port of the API.
func (s *Service) Addr() string { return s.server.Addr() }

// Run works until ctx ends, then finishes what it has in hand and returns nil. A service runs once.
func (s *Service) Run(ctx context.Context) error {
	defer s.pool.Close()
	return service.Run(ctx, s.log, s.config.DrainTimeout,
		service.Component{Name: "carrier", Stop: func(context.Context) error {
			s.handler.close()
			s.carrier.Close()
			return nil
		}},
		service.Component{Name: "worker", Run: s.worker.Run},
		service.Component{Name: "webhooks", Run: s.inbox.Run, Stop: func(context.Context) error {
			s.inbox.Close()
			return nil
		}},
		s.server.Component(),
	)
}

// Migrate brings the database and the topics to the shape that this build needs.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	applied, err := pg.MigrateURL(ctx, config.DatabaseURL.Reveal(), migrations.FS(Participant))
	if err != nil {
		return fmt.Errorf("migrating shipping's database: %w", err)
	}
	log.InfoContext(ctx, "database migrated", slog.Int("applied", applied))
	if err := kafka.EnsureTopics(ctx, config.Kafka, log, topics(config)...); err != nil {
		return fmt.Errorf("making shipping's topics: %w", err)
	}
	return nil
}

func topics(config Config) []string {
	t := config.Kafka.Topics()
	return []string{t.CommandTopic(Participant), t.ReplyTopic(Participant)}
}
