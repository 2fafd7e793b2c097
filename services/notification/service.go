package notification

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
	"recourse.dev/pkg/worker"
	notificationapi "recourse.dev/schemas/gen/api/notification"
)

// Participant names the service in topics, consumer group, metrics and database.
const Participant = "notification"

// Service is the whole process: worker, follower of the orders events and API over one database.
type Service struct {
	config   Config
	log      *slog.Logger
	pool     *pgxpool.Pool
	mailer   *SMTPMailer
	handler  *handler
	worker   *worker.Worker
	consumer *kafka.Consumer
	server   *httpserver.Server
}

// New wires the service. It refuses a database or topics that it cannot work with, naming what is wrong.
func New(ctx context.Context, config Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("configuring notification: %w", err)
	}
	mailer, err := NewSMTPMailer(config.smtp())
	if err != nil {
		return nil, fmt.Errorf("configuring notification: %w", err)
	}
	pool, err := pg.Open(ctx, pg.Config{
		URL: config.DatabaseURL.Reveal(), AppName: Participant, MaxConns: config.DatabaseConns, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("opening notification's database: %w", err)
	}
	s := &Service{config: config, log: log, pool: pool, mailer: mailer}
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
		// Some wait for their conversation, so that a transaction has a few mails to settle.
		MaxCalls:    callsPerConn * s.config.SMTPConns,
		CallTimeout: s.config.callTimeout(),
		ProbeDelays: s.config.ProbeDelays,
		ProbeEvery:  s.config.ProbeEvery,
		KeepSteps:   s.config.KeepSteps.Duration(),
		KeepLetters: s.config.KeepLetters.Duration(),
	}, s.pool, s.log, registry)
	if err != nil {
		return err
	}
	s.handler = newHandler(s.pool, s.mailer, s.config.messageDomain(), s.config.GiveUpAfter)
	s.handler.register(s.worker)

	follower := &claims{pool: s.pool, now: s.worker.Now}
	s.consumer, err = kafka.NewConsumer(s.config.Kafka, "order-claims", kafka.ConsumerOptions{
		Group:      s.config.Kafka.Topics().Group(Participant + ".claims"),
		Topics:     []string{s.config.Kafka.Topics().OrderEventsTopic()},
		MaxRecords: s.config.MaxBatch,
		Handle:     follower.handle,
	}, s.log, registry)
	if err != nil {
		return err
	}

	spec, err := notificationapi.GetSpec()
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
			{Name: "order_claims", Check: s.consumer.Check},
		},
		Unavailable: pg.IsTransient,
	})
	if err != nil {
		return err
	}
	notificationapi.RegisterHandlers(s.server.Echo(),
		notificationapi.NewStrictHandler(&routes{pool: s.pool, redrive: s.worker.Redrive, domain: s.config.messageDomain()}, nil))
	return s.server.Listen(ctx)
}

// Addr is host:port of the API.
func (s *Service) Addr() string { return s.server.Addr() }

// Run works until ctx ends, then finishes what it has in hand and returns nil. A service runs once.
func (s *Service) Run(ctx context.Context) error {
	defer s.pool.Close()
	return service.Run(ctx, s.log, s.config.DrainTimeout,
		service.Component{Name: "tries", Stop: func(context.Context) error {
			s.handler.close()
			s.mailer.Close()
			return nil
		}},
		service.Component{Name: "order-claims", Run: s.consumer.Run},
		service.Component{Name: "worker", Run: s.worker.Run},
		s.server.Component(),
	)
}

// Migrate brings the database and the topics to the shape that this build needs.
func Migrate(ctx context.Context, config Config, log *slog.Logger) error {
	applied, err := pg.MigrateURL(ctx, config.DatabaseURL.Reveal(), migrations.FS(Participant))
	if err != nil {
		return fmt.Errorf("migrating notification's database: %w", err)
	}
	log.InfoContext(ctx, "database migrated", slog.Int("applied", applied))
	if err := kafka.EnsureTopics(ctx, config.Kafka, log, topics(config)...); err != nil {
		return fmt.Errorf("making notification's topics: %w", err)
	}
	return nil
}

// topics are all that the service reads or writes. The orders events are made by whoever comes first.
func topics(config Config) []string {
	t := config.Kafka.Topics()
	return []string{t.CommandTopic(Participant), t.ReplyTopic(Participant), t.OrderEventsTopic()}
}
