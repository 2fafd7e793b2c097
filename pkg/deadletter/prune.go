package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const pruneSQL = `
WITH old AS (
    SELECT id
    FROM dead_letter
    WHERE redriven_at < now() - $1::float8 * interval '1 second'
        OR (redriven_at IS NULL AND dismissed_at < now() - $1::float8 * interval '1 second')
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM dead_letter
USING old
WHERE dead_letter.id = old.id`

// Prune deletes up to limit letters that were redriven or dismissed longer than keep ago, and says how many. An open letter
// is never deleted.
func Prune(ctx context.Context, pool *pgxpool.Pool, keep time.Duration, limit int) (int64, error) {
	done, err := pool.Exec(ctx, pruneSQL, keep.Seconds(), limit)
	if err != nil {
		return 0, fmt.Errorf("pruning dead letters: %w", err)
	}
	return done.RowsAffected(), nil
}
