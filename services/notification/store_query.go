package notification

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

// What the API reads.

// errNotFound says that there is no notification of that id.
var errNotFound = errors.New("notification not found")

// filter narrows a list. Zero values mean any.
type filter struct {
	OrderID *uuid.UUID
	State   *string
	// Before is the last id of the page before.
	Before *uuid.UUID
	Limit  int
}

// summary is a row of a list.
type summary struct {
	NotificationID uuid.UUID
	OrderID        uuid.UUID
	State          string
	TemplateKey    string
	TemplateLocale string
	Address        string
	Subject        string
	Detail         string
	CreatedAt      time.Time
	DecidedAt      *time.Time
}

const listNotificationsSQL = `
SELECT notification_id, order_id, state, template_key, template_locale, address, subject, detail, created_at, decided_at
FROM notification
WHERE ($1::uuid IS NULL OR order_id = $1)
  AND ($2::text IS NULL OR state = $2)
  AND ($3::uuid IS NULL OR notification_id < $3)
ORDER BY notification_id DESC
LIMIT $4`

func listNotifications(ctx context.Context, pool *pgxpool.Pool, f filter) ([]summary, error) {
	found, err := pg.Collect(ctx, pool, pgx.RowToStructByName[summary], listNotificationsSQL,
		f.OrderID, f.State, f.Before, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("listing notifications: %w", err)
	}
	return found, nil
}

// record is a notification with every try.
type record struct {
	summary
	SagaID          uuid.UUID
	DedupeKey       string
	TemplateVersion int32
	Name            string
	Text            string
	HTML            string

	Attempts []attemptRecord `db:"-"`
}

type attemptRecord struct {
	AttemptNo int32
	SentAt    time.Time
	EndedAt   *time.Time
	Outcome   *string
	SMTPCode  *int32 `db:"smtp_code"`
	Detail    string
}

const getNotificationSQL = `
SELECT notification_id, order_id, state, template_key, template_locale, address, subject, detail, created_at,
       decided_at, saga_id, dedupe_key, template_version, name, text, html
FROM notification
WHERE notification_id = $1`

const getAttemptsSQL = `
SELECT attempt_no, sent_at, ended_at, outcome, smtp_code, detail
FROM delivery_attempt
WHERE notification_id = $1
ORDER BY attempt_no`

// getNotification reads the notification and its tries as of one instant.
func getNotification(ctx context.Context, tx pgx.Tx, id uuid.UUID) (record, error) {
	rows, err := tx.Query(ctx, getNotificationSQL, id)
	if err != nil {
		return record{}, fmt.Errorf("reading notification %s: %w", id, err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[record])
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNotFound
	}
	if err != nil {
		return record{}, fmt.Errorf("reading notification %s: %w", id, err)
	}
	if rows, err = tx.Query(ctx, getAttemptsSQL, id); err == nil {
		found.Attempts, err = pgx.CollectRows(rows, pgx.RowToStructByName[attemptRecord])
	}
	if err != nil {
		return record{}, fmt.Errorf("reading the tries of notification %s: %w", id, err)
	}
	return found, nil
}

const totalsSQL = `
SELECT state, count(*)
FROM notification
GROUP BY state`

func countStates(ctx context.Context, pool *pgxpool.Pool) (map[State]int64, error) {
	rows, err := pool.Query(ctx, totalsSQL)
	if err != nil {
		return nil, fmt.Errorf("counting notifications: %w", err)
	}
	counts := make(map[State]int64, len(States()))
	var (
		state State
		n     int64
	)
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		counts[state] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting notifications: %w", err)
	}
	return counts, nil
}
