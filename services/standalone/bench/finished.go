package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// sampleSize is how many orders are placed for finished ones to be copied from.
	sampleSize = 500
	// fillBatch is how many finished orders a statement makes.
	fillBatch = 50_000
	// finishedEvery lies between the times of two finished orders.
	finishedEvery = 10 * time.Millisecond
)

// since is an id that every order of this run is above, and every finished one that it was filled with below.
func (g *ground) since() uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(g.began.UnixMilli())<<16)
	return id
}

// fillFinished puts finished orders into the databases of three-step: copies of some that this run has played, in every
// table that keeps them. They are older than all others, each 10 ms younger than the one before, and vacuumed.
func (r *run) fillFinished(ctx context.Context, s *threeStep) error {
	if _, err := r.phase(ctx, r.plan("sample", sampleSize), nil); err != nil {
		return err
	}
	begin := time.Now()
	r.o.Progress("filling the databases with %d finished orders", r.o.Finished)
	sample, err := r.sample(ctx)
	if err != nil {
		return err
	}
	fill := &filler{ground: r.ground, sample: sample, n: r.o.Finished}
	filling, ctx := errgroup.WithContext(ctx)
	filling.Go(func() error { return fill.database(ctx, coordinatorDB, coordinatorTables) })
	for _, database := range s.databases {
		filling.Go(func() error { return fill.database(ctx, database, participantTables) })
	}
	if err := filling.Wait(); err != nil {
		return fmt.Errorf("filling the databases with finished orders: %w", err)
	}
	r.base.writes += fill.written.Load() // no order that is measured has written these
	r.o.Progress("filled after %.1f s", time.Since(begin).Seconds())
	return nil
}

// sample lists the orders that were played.
func (r *run) sample(ctx context.Context) ([]uuid.UUID, error) {
	conn, err := r.ground.connect(ctx, coordinatorDB)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has answered
	rows, err := conn.Query(ctx, `SELECT id FROM saga WHERE ended_at IS NOT NULL ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// copied is a table whose rows belong to one order each.
type copied struct {
	name string
	// order is the column that says whose they are.
	order string
	// changed columns get an expression, in which f is the finished order that is made; "" leaves the column to its
	// default. All others are as in the sample, whatever there are.
	changed map[string]string
}

var coordinatorTables = []copied{
	{"saga", "id", map[string]string{"id": "f.id", "order_id": "f.id", "created_at": "f.at", "ended_at": "f.at"}},
	{"order_document", "order_id", map[string]string{
		"order_id": "f.id", "saga_id": "f.id", "reference": "'finished-' || f.n", "created_at": "f.at",
	}},
	{"order_sku", "order_id", map[string]string{"order_id": "f.id"}},
	{"request_key", "order_id", map[string]string{"order_id": "f.id", "key": "'finished-' || f.n", "created_at": "f.at"}},
	{"saga_history", "saga_id", map[string]string{"saga_id": "f.id", "seq": ""}},
}

var participantTables = []copied{
	{"step", "saga_id", map[string]string{
		"saga_id": "f.id", "order_id": "f.id", "created_at": "f.at", "updated_at": "f.at",
	}},
}

type filler struct {
	ground *ground
	sample []uuid.UUID
	n      int
	// written counts the rows.
	written atomic.Int64
}

// finishedSQL numbers finished orders. Random bits of an id come of the number, so that an order has the same id in every
// database.
const finishedSQL = `
    SELECT
        n,
        at,
        ($3::uuid[])[1 + n % cardinality($3::uuid[])] AS sample,
        (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid AS id
    FROM (
        SELECT
            n,
            md5(n::text) AS hash,
            $4::timestamptz + n * $5::interval AS at
        FROM generate_series($1::int, $2::int) AS n
    ) AS numbered`

// Domain events of many orders lie in one row each, so these are copied by share.
const fillOutboxSQL = `
INSERT INTO outbox (at, body, claimed_until, published_at)
SELECT
    at,
    body,
    claimed_until,
    published_at
FROM outbox, generate_series(1, $1)
WHERE published_at IS NOT NULL`

func (f *filler) database(ctx context.Context, name string, tables []copied) error {
	conn, err := f.ground.connect(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything is committed
	for _, sql := range []string{`SET synchronous_commit = off`, `SET work_mem = '128MB'`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	// Before anything else is written: the sample's events, and not their copies.
	if name == coordinatorDB {
		if err := f.exec(ctx, conn, fillOutboxSQL, f.n/len(f.sample)); err != nil {
			return fmt.Errorf("copying outbox: %w", err)
		}
	}
	first := f.ground.began.Add(-time.Duration(f.n+1) * finishedEvery)
	for _, table := range tables {
		sql, err := table.sql(ctx, conn)
		if err != nil {
			return err
		}
		unpack, err := table.pack(ctx, conn)
		if err != nil {
			return err
		}
		for from := 1; from <= f.n; from += fillBatch {
			if err := f.exec(ctx, conn, sql, from, min(f.n, from+fillBatch-1), f.sample, first, finishedEvery); err != nil {
				return fmt.Errorf("copying %s: %w", table.name, err)
			}
		}
		if _, err := conn.Exec(ctx, unpack); err != nil {
			return fmt.Errorf("packing %s: %w", table.name, err)
		}
	}
	if name == coordinatorDB { // as housekeeping would have done long ago
		if _, err := conn.Exec(ctx, `UPDATE saga_low_water SET id = $1`, f.ground.since()); err != nil {
			return fmt.Errorf("moving the mark below which all have ended: %w", err)
		}
	}
	for _, sql := range []string{`VACUUM (ANALYZE)`, `CHECKPOINT`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func (f *filler) exec(ctx context.Context, conn *pgx.Conn, sql string, args ...any) error {
	done, err := conn.Exec(ctx, sql, args...)
	f.written.Add(done.RowsAffected())
	return err
}

// Of the sample: the table's fillfactor, if it has one, and that with which as many whole rows come on a page. They were
// smaller when they came there.
const packingSQL = `
SELECT
    substring(array_to_string(c.reloptions, ',') FROM 'fillfactor=([0-9]+)'),
    (
        SELECT least(100, 1 + ceil(percentile_disc(0.5) WITHIN GROUP (ORDER BY rows * size) * 100 / 8192))::text
        FROM (
            SELECT
                count(*) AS rows,
                avg(pg_column_size(t.*) + 8) AS size
            FROM %[1]s AS t
            GROUP BY (t.ctid::text::point)[0]
        ) AS pages
    )
FROM pg_class AS c
WHERE c.oid = '%[1]s'::regclass`

// pack has copies lie as close as the orders that were played, whose rows grew on the page where they began. If they lay
// as new ones do, each of their pages had room for one more, and new orders would go there, page by page, as in no
// database that has worked. It returns the statement that takes this back.
func (c *copied) pack(ctx context.Context, conn *pgx.Conn) (unpack string, err error) {
	var own, sample *string
	if err := conn.QueryRow(ctx, fmt.Sprintf(packingSQL, c.name)).Scan(&own, &sample); err != nil {
		return "", fmt.Errorf("reading how %s is packed: %w", c.name, err)
	}
	if own == nil || sample == nil {
		return "", nil
	}
	const set = `ALTER TABLE %s SET (fillfactor = %s)`
	if _, err := conn.Exec(ctx, fmt.Sprintf(set, c.name, *sample)); err != nil {
		return "", fmt.Errorf("packing %s: %w", c.name, err)
	}
	return fmt.Sprintf(set, c.name, *own), nil
}

const columnsSQL = `
SELECT column_name
FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'
ORDER BY ordinal_position`

// sql copies the rows of some finished orders, with whatever columns the table has.
func (c *copied) sql(ctx context.Context, conn *pgx.Conn) (string, error) {
	rows, err := conn.Query(ctx, columnsSQL, c.name)
	if err != nil {
		return "", fmt.Errorf("reading the columns of %s: %w", c.name, err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("reading the columns of %s: %w", c.name, err)
	}
	columns = slices.DeleteFunc(columns, func(column string) bool {
		expression, changed := c.changed[column]
		return changed && expression == ""
	})
	values := make([]string, len(columns))
	for i, column := range columns {
		values[i] = "t." + pgx.Identifier{column}.Sanitize()
		if expression, changed := c.changed[column]; changed {
			values[i] = expression
		}
		columns[i] = pgx.Identifier{column}.Sanitize()
	}
	return fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM (%s) AS f JOIN %s AS t ON t.%s = f.sample`,
		c.name, strings.Join(columns, ", "), strings.Join(values, ", "), finishedSQL, c.name, c.order), nil
}
