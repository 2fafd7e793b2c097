package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
)

// housekeeping makes the partitions of coming months and moves the mark below which every saga has ended.
type housekeeping struct {
	pool  *pgxpool.Pool
	clock *pg.Clock
	log   *slog.Logger
}

const (
	monthsAhead = 3
	markEvery   = 5 * time.Minute
	monthsEvery = 24 * time.Hour
	// markMargin keeps the mark behind orders that were given their id and are not stored yet.
	markMargin = time.Hour
)

func (h *housekeeping) run(ctx context.Context) error {
	marks, months := time.NewTicker(markEvery), time.NewTicker(monthsEvery)
	defer marks.Stop()
	defer months.Stop()
	h.months(ctx)
	h.lowWater(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-marks.C:
			h.lowWater(ctx)
		case <-months.C:
			h.months(ctx)
		}
	}
}

const makePartitionsSQL = `SELECT make_partitions($1)`

func (h *housekeeping) months(ctx context.Context) {
	var made int
	err := h.pool.QueryRow(ctx, makePartitionsSQL, monthsAhead).Scan(&made)
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterPartitions)
	}
	if err != nil {
		if ctx.Err() == nil {
			h.log.WarnContext(ctx, "making the partitions of coming months failed; rows go to the default partition",
				"error", err)
		}
		return
	}
	if made > 0 {
		h.log.InfoContext(ctx, "made partitions for coming months", "partitions", made)
	}
}

func (h *housekeeping) lowWater(ctx context.Context) {
	err := h.raiseMark(ctx, h.clock.Now().Add(-markMargin))
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterLowWater)
	}
	if err != nil && ctx.Err() == nil {
		h.log.WarnContext(ctx, "moving the mark of ended sagas failed", "error", err)
	}
}

// The row is locked first: who opens a saga again writes it too, so neither overlooks the other.
const lockMarkSQL = `
SELECT id
FROM saga_low_water
FOR UPDATE`

const oldestOpenSQL = `
SELECT id
FROM saga
WHERE id >= $1 AND id < $2 AND ended_at IS NULL
ORDER BY id
LIMIT 1`

const raiseMarkSQL = `
UPDATE saga_low_water
SET id = $1`

// raiseMark moves the mark up to the oldest open saga, at most to what was created by the given time.
func (h *housekeeping) raiseMark(ctx context.Context, until time.Time) error {
	return pg.InTx(ctx, h.pool, func(tx pgx.Tx) error {
		var mark, oldest uuid.UUID
		if err := tx.QueryRow(ctx, lockMarkSQL).Scan(&mark); err != nil {
			return fmt.Errorf("reading the mark: %w", err)
		}
		end := firstIDOf(until)
		rows, err := tx.Query(ctx, oldestOpenSQL, mark, end)
		if err != nil {
			return fmt.Errorf("looking for the oldest open saga: %w", err)
		}
		open, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("looking for the oldest open saga: %w", err)
		}
		if oldest = end; len(open) > 0 {
			oldest = open[0]
		}
		if _, err := tx.Exec(ctx, raiseMarkSQL, oldest); err != nil {
			return fmt.Errorf("moving the mark: %w", err)
		}
		return nil
	})
}
