package pg

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

const (
	defaultMaxConns = 10
	connectTimeout  = 5 * time.Second

	// A process that froze in a transaction would hold its row locks for ever and stop its successor.
	idleInTransaction = "60s"
)

// Config says which database and how.
type Config struct {
	// URL as postgres://user:password@host:5432/database, or libpq's keyword form.
	URL string

	// AppName is what pg_stat_activity shows. Required: a DBA must see who holds a lock.
	AppName string

	// MaxConns bounds the pool; 0 means 10.
	MaxConns int32

	// Wait is how long Open goes on trying while the server cannot be reached or is starting up. 0 tries once.
	Wait time.Duration

	Log *slog.Logger
}

// planByKey makes plans that are right for tables of any size. Statements look rows up by their keys, many at a time, and
// are planned once for each connection. A server that plans them while their tables are small or not yet analysed takes
// scans and hash joins of the whole table, and keeps them while the table grows: measured, a payment's settlement took
// 6.5 ms instead of 1.4 at a few thousand rows, and more with every row. These settings only make such plans look
// expensive; a statement that has no index to use scans as ever. What the URL sets wins.
var planByKey = map[string]string{
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"random_page_cost": "1.1",
	// Planning a statement anew for its very parameters costs more than running it.
	"plan_cache_mode": "force_generic_plan",
	// A plan that looks expensive would be compiled each time it is run: 130 ms for what takes 100.
	"jit": "off",
}

// Open connects and returns a pool that answered once. The caller closes it.
func Open(ctx context.Context, c Config) (*pgxpool.Pool, error) {
	if c.URL == "" || c.AppName == "" {
		return nil, fmt.Errorf("opening the database: a URL and an application name are needed (DATABASE_URL)")
	}
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL (want postgres://user:password@host:5432/database): %w", err)
	}
	pc.MaxConns = cmp.Or(c.MaxConns, defaultMaxConns)
	pc.MaxConnLifetime = time.Hour // so that a failover's new primary is found, and per-backend memory is given back
	pc.MaxConnLifetimeJitter = 10 * time.Minute
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.ConnConfig.ConnectTimeout = connectTimeout
	pc.ConnConfig.RuntimeParams["application_name"] = c.AppName
	pc.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = idleInTransaction
	pc.ConnConfig.RuntimeParams["timezone"] = "UTC"
	for name, value := range planByKey {
		if _, given := pc.ConnConfig.RuntimeParams[name]; !given {
			pc.ConnConfig.RuntimeParams[name] = value
		}
	}
	// Without it a uuid.UUID goes through its text, which was a sixth of a coordinator's CPU time.
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		registerArrays(conn.TypeMap())
		return nil
	}
	pc.ConnConfig.Tracer = multitracer.New(otelpgx.NewTracer(), counterTracer{})

	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := ping(ctx, pool, c); err != nil {
		pool.Close()
		cc := pc.ConnConfig
		return nil, fmt.Errorf("connecting to database %s at %s as %s: %w", cc.Database,
			net.JoinHostPort(cc.Host, strconv.Itoa(int(cc.Port))), cc.User, err)
	}
	return pool, nil
}

func ping(ctx context.Context, pool *pgxpool.Pool, c Config) error {
	const pause = 500 * time.Millisecond
	deadline := time.Now().Add(c.Wait)
	log := cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	for {
		err := pool.Ping(ctx)
		if err == nil {
			return nil
		}
		if !IsTransient(err) || isHopeless(err) || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		log.InfoContext(ctx, "waiting for the database", slog.String("error", err.Error()))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// isHopeless: the server answered, and waiting will not change the answer.
func isHopeless(err error) bool {
	code := Code(err)
	return strings.HasPrefix(code, "28") || strings.HasPrefix(code, "3D") // wrong login, no such database
}
