package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const dismissSQL = `
UPDATE dead_letter
SET dismissed_at = $2, dismissed_by = nullif($3::text, ''), dismissed_reason = $4
WHERE id = $1 AND redriven_at IS NULL AND dismissed_at IS NULL
RETURNING id`

// Dismiss closes an open letter without sending anything; by names the operator, and may be nil. The letter is kept as
// long as a redriven one.
func Dismiss(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID, by *string, reason string) (Letter, error) {
	err := pool.QueryRow(ctx, dismissSQL, id, time.Now().UTC(), by, reason).Scan(&id)
	dismissed := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Letter{}, fmt.Errorf("dismissing dead letter %s: %w", id, err)
	}
	letter, err := Get(ctx, pool, id)
	switch {
	case err != nil:
		return letter, err
	case dismissed:
		return letter, nil
	case letter.RedrivenAt != nil:
		return letter, fmt.Errorf("dismissing dead letter %s: %w", id, ErrAlreadyRedriven)
	}
	return letter, fmt.Errorf("dismissing dead letter %s: %w", id, ErrAlreadyDismissed)
}
