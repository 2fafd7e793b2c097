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
	at                        time.Time
	self, postgres, kafka     time.Duration
	allocs, allocated         uint64
	wal, databases            int64
	writes, commits, upd, hot int64
}

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
    coalesce(sum(n_tup_upd), 0)::bigint,
    coalesce(sum(n_tup_hot_upd), 0)::bigint
FROM pg_stat_user_tables`

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
	for _, name := range names {
		conn, err := m.ground.connect(ctx, name)
		if err != nil {
			return err
		}
		var updates, hot int64
		err = conn.QueryRow(ctx, updatesSQL).Scan(&updates, &hot)
		_ = conn.Close(ctx) // it has answered
		if err != nil {
			return fmt.Errorf("reading the counters of %s: %w", name, err)
		}
		r.upd, r.hot = r.upd+updates, r.hot+hot
	}
	return nil
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
