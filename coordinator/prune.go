package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pace"
)

// pruner deletes what is kept long enough. Orders and sagas stay; history and domain events go by the month, by dropping
// partitions, and never while a saga is open that began before the month's end.
type pruner struct {
	pool   *pgxpool.Pool
	keep   Retention
	pruned *prometheus.CounterVec
	log    *slog.Logger
}

func (s *Service) pruner() *pruner {
	return &pruner{pool: s.pool, keep: s.config.Retention, pruned: s.engine.metrics.pruned, log: s.log}
}

const (
	pruneEvery = time.Hour
	// pruneBatch bounds one statement, prunePause is how long others have the database between two.
	pruneBatch = 1000
	prunePause = 100 * time.Millisecond
	// keepMargin lies between how long an order may take and how long anything about it is kept at least.
	keepMargin = 48 * time.Hour
)

// run prunes until ctx ends.
func (p *pruner) run(ctx context.Context) error {
	for {
		if err := p.prune(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "pruning failed; trying again later", "error", err)
		}
		if !pace.Wait(ctx, pruneEvery) {
			return nil
		}
	}
}

// prune goes over everything once. What fails does not keep the rest from being pruned.
func (p *pruner) prune(ctx context.Context) error {
	return errors.Join(
		p.months(ctx, "saga_history", dropHistorySQL, p.keep.KeepHistory.Duration()),
		p.months(ctx, "outbox", dropOutboxSQL, p.keep.KeepOutbox.Duration()),
		p.rows(ctx, "request_key", func(ctx context.Context) (int64, error) {
			done, err := p.pool.Exec(ctx, pruneKeysSQL, p.keep.KeepKeys.Duration().Seconds(), pruneBatch)
			return done.RowsAffected(), err
		}),
		p.rows(ctx, "dead_letter", func(ctx context.Context) (int64, error) {
			return deadletter.Prune(ctx, p.pool, p.keep.KeepLetters.Duration(), pruneBatch)
		}),
	)
}

// Below the mark every saga has ended. Its id begins with the milliseconds of its time.
const dropHistorySQL = `
SELECT drop_partitions('saga_history', least(
    now() - $1::float8 * interval '1 second',
    (
        SELECT to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
        FROM saga_low_water
    )
))`

const dropOutboxSQL = `SELECT drop_partitions('outbox', now() - $1::float8 * interval '1 second')`

// months drops partitions.
func (p *pruner) months(ctx context.Context, table, sql string, keep time.Duration) error {
	var dropped []string
	if err := p.pool.QueryRow(ctx, sql, keep.Seconds()).Scan(&dropped); err != nil {
		return fmt.Errorf("dropping months of %s: %w", table, err)
	}
	if len(dropped) > 0 {
		p.pruned.WithLabelValues(table).Add(float64(len(dropped)))
		p.log.InfoContext(ctx, "dropped months", "partitions", dropped)
	}
	return nil
}

const pruneKeysSQL = `
DELETE FROM request_key
WHERE ctid = ANY (ARRAY (
    SELECT ctid
    FROM request_key
    WHERE created_at < now() - $1::float8 * interval '1 second'
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))`

// rows deletes batch after batch.
func (p *pruner) rows(ctx context.Context, table string, batch func(context.Context) (int64, error)) error {
	for {
		n, err := batch(ctx)
		if err != nil {
			return fmt.Errorf("pruning %s: %w", table, err)
		}
		p.pruned.WithLabelValues(table).Add(float64(n))
		if n < pruneBatch || !pace.Wait(ctx, prunePause) {
			return nil
		}
	}
}

// checkRetention refuses to forget the history of an order while replies about it can still be in their topics.
func checkRetention(ctx context.Context, config Config, log *slog.Logger, topics ...string) error {
	retention, err := kafka.Retention(ctx, config.Kafka, log, topics...)
	if err != nil {
		// Some brokers do not let everybody read settings.
		log.WarnContext(ctx, "cannot compare KEEP_HISTORY with the retention of the topics", "error", err)
		return nil
	}
	if least := retention + keepMargin; retention > 0 && config.KeepHistory.Duration() < least {
		return fmt.Errorf("KEEP_HISTORY is %s, and topics keep records for %s: set KEEP_HISTORY to %s or more, or the "+
			"topics' retention.ms to less", config.KeepHistory, retention, least)
	}
	return nil
}
