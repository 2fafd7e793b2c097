package bench

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"

	"github.com/jackc/pgx/v5"
)

// reading is what the meters show at an instant.
type reading struct {
	at                    time.Time
	self, postgres, kafka time.Duration
	allocs, allocated     uint64
	wal, databases        int64
	writes, commits       int64
	// updates are counted by "database.table".
	updates map[string]updates
}

type updates struct{ all, hot int64 }

// meter reads the clocks of one run.
type meter struct {
	ground   *ground
	conn     *pgx.Conn
	kafkaPID int
}

func newMeter(ctx context.Context, g *ground, o *Options) (*meter, error) {
	conn, err := g.connect(ctx, "postgres")
	return &meter{ground: g, conn: conn, kafkaPID: o.KafkaPID}, err
}

func (m *meter) close(ctx context.Context) { _ = m.conn.Close(context.WithoutCancel(ctx)) }

const sizesSQL = `
SELECT
    pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
    (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint`

// read takes what is exact at once: times, WAL, sizes and allocations.
func (m *meter) read(ctx context.Context) (r reading, err error) {
	r.self, r.postgres = selfCPU(), processCPU(m.ground.pg.PID())
	if m.kafkaPID != 0 {
		r.kafka = processCPU(m.kafkaPID)
	}
	r.at = time.Now()
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	r.allocs, r.allocated = samples[0].Value.Uint64(), samples[1].Value.Uint64()
	if err := m.conn.QueryRow(ctx, sizesSQL).Scan(&r.wal, &r.databases); err != nil {
		return r, fmt.Errorf("reading the server's WAL position: %w", err)
	}
	return r, nil
}

const countersSQL = `
SELECT
    sum(tup_inserted + tup_updated + tup_deleted)::bigint,
    sum(xact_commit)::bigint
FROM pg_stat_database`

const updatesSQL = `
SELECT
    relname,
    n_tup_upd,
    n_tup_hot_upd
FROM pg_stat_user_tables
WHERE n_tup_upd > 0`

// count adds the server's counters. A connection reports what it did up to ten seconds later, but for sure when it
// ends; so they are right when the platform has been stopped, and not before.
func (m *meter) count(ctx context.Context, r *reading) error {
	if err := m.conn.QueryRow(ctx, countersSQL).Scan(&r.writes, &r.commits); err != nil {
		return fmt.Errorf("reading the server's counters: %w", err)
	}
	rows, err := m.conn.Query(ctx, `SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate`)
	if err != nil {
		return fmt.Errorf("listing databases: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("listing databases: %w", err)
	}
	r.updates = map[string]updates{}
	for _, name := range names {
		if err := m.countUpdates(ctx, name, r.updates); err != nil {
			return fmt.Errorf("reading the counters of %s: %w", name, err)
		}
	}
	return nil
}

func (m *meter) countUpdates(ctx context.Context, database string, into map[string]updates) error {
	conn, err := m.ground.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // it has answered
	rows, err := conn.Query(ctx, updatesSQL)
	if err != nil {
		return err
	}
	var (
		table string
		one   updates
	)
	_, err = pgx.ForEachRow(rows, []any{&table, &one.all, &one.hot}, func() error {
		into[database+"."+table] = one
		return nil
	})
	return err
}

// hotShares says which part of the updates since a reading touched no index: of each table, and of all.
func hotShares(a, b reading) (byTable map[string]float64, share float64) {
	var sum updates
	byTable = map[string]float64{}
	for table, now := range b.updates {
		all, hot := now.all-a.updates[table].all, now.hot-a.updates[table].hot
		if all > 0 {
			byTable[table] = digits(float64(hot) / float64(all))
		}
		sum.all, sum.hot = sum.all+all, sum.hot+hot
	}
	return byTable, digits(float64(sum.hot) / float64(max(1, sum.all)))
}

const othersSQL = `
SELECT count(*)
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`

// settle waits until nobody else is connected.
func (m *meter) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		var others int
		if err := m.conn.QueryRow(ctx, othersSQL).Scan(&others); err != nil {
			return fmt.Errorf("waiting for the platform's connections to end: %w", err)
		}
		if others == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d connections of the platform are still open", others)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
