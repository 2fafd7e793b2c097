package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Statement is what PostgreSQL added up of one statement.
type Statement struct {
	SQL              string  `json:"sql"`
	MillisecondsSaga float64 `json:"ms_saga"`
	CallsSaga        float64 `json:"calls_saga"`
	RowsSaga         float64 `json:"rows_saga"`
	WALBytesSaga     float64 `json:"wal_bytes_saga"`
}

// waiting samples what PostgreSQL's busy processes wait for.
type waiting struct {
	conn   *pgx.Conn
	cancel context.CancelFunc
	done   sync.WaitGroup
	counts map[string]int
	err    error
}

// sampleEvery is how often; a sample costs PostgreSQL about as much as a small statement.
const sampleEvery = 50 * time.Millisecond

const waitsSQL = `
SELECT
    CASE backend_type WHEN 'client backend' THEN '' ELSE backend_type || ' ' END
        || coalesce(wait_event_type || ':' || wait_event, 'CPU'),
    count(*)::integer
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
  AND (state = 'active' OR backend_type <> 'client backend' AND wait_event_type IS DISTINCT FROM 'Activity')
  AND coalesce(wait_event_type, '') <> 'Client'
GROUP BY 1`

// startWaiting begins to sample, and to add up statements if the server can.
func startWaiting(ctx context.Context, g *ground) (*waiting, error) {
	conn, err := g.connect(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	w := &waiting{conn: conn, counts: map[string]int{}}
	if g.statements {
		if _, err := conn.Exec(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements`); err != nil {
			g.statements = false // the library without the extension's files
		} else if _, err := conn.Exec(ctx, `SELECT pg_stat_statements_reset()`); err != nil {
			return nil, fmt.Errorf("resetting the statements: %w", err)
		}
	}
	sampling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	w.done.Go(func() { w.run(sampling) })
	return w, nil
}

func (w *waiting) run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// Not under ctx: a statement that is cut off takes its connection along, which is needed after it.
		rows, err := w.conn.Query(context.WithoutCancel(ctx), waitsSQL)
		if err != nil {
			w.err = fmt.Errorf("sampling what PostgreSQL waits for: %w", err)
			return
		}
		var (
			name string
			n    int
		)
		if _, w.err = pgx.ForEachRow(rows, []any{&name, &n}, func() error {
			w.counts[name] += n
			return nil
		}); w.err != nil {
			return
		}
	}
}

const statementsSQL = `
SELECT
    query,
    total_exec_time + total_plan_time,
    calls::float8,
    rows::float8,
    wal_bytes::float8
FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_activity%'
ORDER BY total_exec_time + total_plan_time DESC
LIMIT 20`

// stop tells the shares of the samples, and the statements that took the most time.
func (w *waiting) stop(ctx context.Context, statements bool, sagas int) (map[string]float64, []Statement, error) {
	w.cancel()
	w.done.Wait()
	defer w.conn.Close(ctx) //nolint:errcheck // it has answered
	if w.err != nil {
		return nil, nil, w.err
	}
	total := 0
	for _, n := range w.counts {
		total += n
	}
	shares := map[string]float64{}
	for name, n := range w.counts {
		shares[name] = digits(float64(n) / float64(total))
	}
	if !statements {
		return shares, nil, nil
	}
	rows, err := w.conn.Query(ctx, statementsSQL)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the statements: %w", err)
	}
	n := float64(max(1, sagas))
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Statement, err error) {
		err = row.Scan(&s.SQL, &s.MillisecondsSaga, &s.CallsSaga, &s.RowsSaga, &s.WALBytesSaga)
		s.SQL = strings.Join(strings.Fields(s.SQL), " ")
		s.SQL = s.SQL[:min(100, len(s.SQL))]
		s.MillisecondsSaga, s.CallsSaga = digits(s.MillisecondsSaga/n), digits(s.CallsSaga/n)
		s.RowsSaga, s.WALBytesSaga = digits(s.RowsSaga/n), digits(s.WALBytesSaga/n)
		return s, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the statements: %w", err)
	}
	return shares, list, nil
}
