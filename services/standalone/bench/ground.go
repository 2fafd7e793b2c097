package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/service"
)

const partitions = 12

// ground is what the platform stands on: a directory, a PostgreSQL and a broker, all of this run alone. Of a Kafka that
// somebody else runs only the topics under prefix are.
type ground struct {
	dir    string
	pg     *pgserver.Server
	broker *embedded.Broker
	kafka  kafka.Config
	log    *slog.Logger
	file   *os.File
	began  time.Time
	// statements says that the server adds statements up.
	statements bool
}

func newGround(ctx context.Context, o *Options) (_ *ground, err error) {
	g := &ground{began: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(ctx))
		}
	}()
	if g.dir, err = os.MkdirTemp(o.Dir, "recourse-bench-"); err != nil {
		return nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	if err := os.Chmod(g.dir, 0o755); err != nil { //nolint:gosec // the database's unprivileged user passes through
		return nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	if g.file, err = os.Create(filepath.Join(g.dir, "log.txt")); err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	// As much is logged as in production.
	if g.log, err = service.Logger(g.file, "json", "info"); err != nil {
		return nil, err
	}
	if err := g.startPostgres(ctx, o); err != nil {
		return nil, err
	}
	return g, g.startBroker(ctx, o)
}

func (g *ground) startPostgres(ctx context.Context, o *Options) (err error) {
	o.Progress("starting a PostgreSQL for this run")
	dir, err := pgserver.DefaultDataDir(g.dir)
	if err != nil {
		return err
	}
	options := pgserver.Options{DataDir: dir, Log: g.log, Settings: maps.Clone(roomy)}
	if o.Waits {
		options.Settings["shared_preload_libraries"] = "pg_stat_statements"
		options.Settings["pg_stat_statements.track"] = "top"
		if g.pg, err = pgserver.Start(ctx, options); err == nil {
			g.statements = true
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		options.Settings = roomy // a server without its extensions
	}
	if g.pg, err = pgserver.Start(ctx, options); err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return nil
}

// roomy is a server with a cache and distances between checkpoints as in production; with those of a development server
// a long run measures the two. What makes a commit durable stays as it is.
var roomy = map[string]string{
	"shared_buffers": "2GB", "max_wal_size": "8GB", "min_wal_size": "2GB", "checkpoint_timeout": "15min",
}

func (g *ground) startBroker(ctx context.Context, o *Options) (err error) {
	g.kafka = kafka.Config{
		Brokers: o.Kafka, TopicPrefix: "recourse", Partitions: partitions, Mode: service.Development,
	}
	if len(o.Kafka) > 0 {
		g.kafka.TopicPrefix = "bench" + time.Now().UTC().Format("20060102150405")
		return nil
	}
	o.Progress("starting a broker in this process")
	as(ctx, partBroker, func(context.Context) {
		g.broker, err = embedded.Start(embedded.Options{Partitions: partitions, Log: g.log})
	})
	if err != nil {
		return fmt.Errorf("starting the embedded broker: %w", err)
	}
	g.kafka.Brokers = g.broker.Addrs()
	return nil
}

// connect opens a connection for the meter.
func (g *ground) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, g.pg.URL(database))
	if err != nil {
		return nil, fmt.Errorf("connecting to measure: %w", err)
	}
	return conn, nil
}

// awaitGroups returns when the consumer groups have so many members and have shared their partitions out.
func (g *ground) awaitGroups(ctx context.Context, want map[string]int, failure func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(g.kafka.Brokers...))
	if err != nil {
		return fmt.Errorf("waiting for the platform: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		missing := ""
		for name, members := range want {
			name = g.kafka.Topics().Group(name)
			groups, err := admin.DescribeGroups(ctx, name)
			if found := groups[name]; err != nil || found.State != "Stable" || len(found.Members) != members {
				missing = fmt.Sprintf("group %s is %s with %d members, and not Stable with %d (%v)",
					name, found.State, len(found.Members), members, errors.Join(err, found.Err))
			}
		}
		if missing == "" {
			return nil
		}
		if err := failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the platform: %s: %w", missing, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail is the end of the log, for errors.
func (g *ground) tail() string {
	text, err := os.ReadFile(g.file.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// close removes everything that this run made.
func (g *ground) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 45*time.Second)
	defer cancel()
	var errs []error
	switch {
	case g.broker != nil:
		g.broker.Close()
	case len(g.kafka.Brokers) > 0:
		errs = append(errs, g.removeTopics(ctx))
	}
	if g.pg != nil {
		errs = append(errs, g.pg.Stop(ctx))
		if dir := filepath.Dir(g.pg.DataDir()); dir != g.dir { // see pgserver.DefaultDataDir
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	if g.file != nil {
		errs = append(errs, g.file.Close())
	}
	if g.dir != "" {
		errs = append(errs, os.RemoveAll(g.dir))
	}
	return errors.Join(errs...)
}

// removeTopics takes this run's topics and groups out of somebody else's Kafka.
func (g *ground) removeTopics(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(g.kafka.Brokers...))
	if err != nil {
		return fmt.Errorf("removing the run's topics: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	mine := func(names []string) (list []string) {
		for _, name := range names {
			if strings.HasPrefix(name, g.kafka.TopicPrefix+".") {
				list = append(list, name)
			}
		}
		return list
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing the run's topics: %w", err)
	}
	if list := mine(topics.Names()); len(list) > 0 {
		if _, err := admin.DeleteTopics(ctx, list...); err != nil {
			return fmt.Errorf("removing the run's topics: %w", err)
		}
	}
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("listing the run's groups: %w", err)
	}
	if list := mine(groups.Groups()); len(list) > 0 {
		if _, err := admin.DeleteGroups(ctx, list...); err != nil {
			return fmt.Errorf("removing the run's groups: %w", err)
		}
	}
	return nil
}
