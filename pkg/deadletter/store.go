package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pg"
)

var (
	// ErrNotFound says that there is no letter of that id.
	ErrNotFound = errors.New("dead letter not found")
	// ErrAlreadyRedriven says that the letter was sent to its topic before; if it failed again there is a newer letter.
	ErrAlreadyRedriven = errors.New("dead letter already redriven")
	// ErrAlreadyDismissed says that an operator dismissed the letter before, with a reason that stays.
	ErrAlreadyDismissed = errors.New("dead letter already dismissed")
	// ErrNotSent says that the broker did not take the record: the letter is as open as it was.
	ErrNotSent = errors.New("the broker did not take the record")
)

// RedrivenHeader tells a redriven record from the first one; its value is the letter's id.
const RedrivenHeader = "recourse-redriven"

const parkSQL = `
INSERT INTO dead_letter (
    id, topic, partition, record_offset, record_time, key, value, headers, reason, error, at
)
SELECT id, topic, partition, record_offset, record_time, key, value, headers, reason, error, at
FROM unnest(
    $1::uuid[], $2::text[], $3::integer[], $4::bigint[], $5::timestamptz[], $6::bytea[], $7::bytea[],
    $8::jsonb[], $9::text[], $10::text[], $11::timestamptz[]
) AS letter (id, topic, partition, record_offset, record_time, key, value, headers, reason, error, at)
ON CONFLICT (topic, partition, record_offset, record_time) DO NOTHING`

// Park stores the letters in the caller's transaction, in one statement. A record that is parked already is left alone.
func Park(ctx context.Context, tx pgx.Tx, letters []Letter) error {
	var batch pgx.Batch
	if err := Queue(&batch, letters); err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("parking %d dead letters: %w", len(letters), err)
	}
	return nil
}

// Queue is Park for a caller that sends the statement together with others.
func Queue(batch *pgx.Batch, letters []Letter) error {
	if len(letters) == 0 {
		return nil
	}
	n := len(letters)
	var (
		ids         = make([]uuid.UUID, n)
		topics      = make([]string, n)
		partitions  = make([]int32, n)
		offsets     = make([]int64, n)
		recordTimes = make([]time.Time, n)
		keys        = make([][]byte, n)
		values      = make([][]byte, n)
		headers     = make([]string, n)
		reasons     = make([]string, n)
		texts       = make([]string, n)
		ats         = make([]time.Time, n)
	)
	for i := range letters {
		l := &letters[i]
		encoded, err := encodeHeaders(l.Headers)
		if err != nil {
			return fmt.Errorf("parking %s/%d@%d: %w", l.Topic, l.Partition, l.Offset, err)
		}
		ids[i], topics[i], partitions[i], offsets[i] = l.ID, l.Topic, l.Partition, l.Offset
		recordTimes[i], keys[i], values[i], headers[i] = l.RecordTime.UTC(), l.Key, l.Value, encoded
		reasons[i], texts[i], ats[i] = string(l.Reason), errorText(l.Error), l.At.UTC()
	}
	batch.Queue(parkSQL, ids, topics, partitions, offsets, recordTimes, keys, values, headers, reasons, texts, ats)
	return nil
}

const listSQL = `
SELECT id, topic, partition, record_offset, record_time, key, value, headers, reason, error, at, redriven_at, dismissed_at,
    dismissed_by, dismissed_reason
FROM dead_letter
WHERE $1::uuid IS NULL OR id < $1
ORDER BY id DESC
LIMIT $2`

// List returns letters, newest first, and the cursor of the next page, which is uuid.Nil after the last. The first page
// has the cursor uuid.Nil.
func List(ctx context.Context, pool *pgxpool.Pool, cursor uuid.UUID, limit int) ([]Letter, uuid.UUID, error) {
	var before *uuid.UUID
	if cursor != uuid.Nil {
		before = &cursor
	}
	// One more than asked for tells whether there is a next page.
	letters, err := pg.Collect(ctx, pool, scanLetter, listSQL, before, limit+1)
	if err != nil {
		return nil, uuid.Nil, fmt.Errorf("listing dead letters: %w", err)
	}
	if len(letters) <= limit {
		return letters, uuid.Nil, nil
	}
	letters = letters[:limit]
	return letters, letters[limit-1].ID, nil
}

const getSQL = `
SELECT id, topic, partition, record_offset, record_time, key, value, headers, reason, error, at, redriven_at, dismissed_at,
    dismissed_by, dismissed_reason
FROM dead_letter
WHERE id = $1`

// Get returns one letter, or ErrNotFound.
func Get(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) (Letter, error) {
	rows, err := pool.Query(ctx, getSQL, id)
	if err != nil {
		return Letter{}, fmt.Errorf("reading dead letter %s: %w", id, err)
	}
	letter, err := pgx.CollectExactlyOneRow(rows, scanLetter)
	if errors.Is(err, pgx.ErrNoRows) {
		return Letter{}, fmt.Errorf("reading dead letter %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("reading dead letter %s: %w", id, err)
	}
	return letter, nil
}

const markRedrivenSQL = `
UPDATE dead_letter
SET redriven_at = $2
WHERE id = $1 AND redriven_at IS NULL`

// Redrive writes the letter's record to its topic again and then marks the letter.
//
// In this order, because the other one could lose the record: a crash between the two leaves a letter that looks open
// and whose record was sent, and sending it once more is harmless as every record is. The same goes for two operators
// at once. A letter that was dismissed may still be redriven: operators change their minds. The producer is nil in a
// service that does not run yet.
func Redrive(ctx context.Context, pool *pgxpool.Pool, producer *kgo.Client, id uuid.UUID) (Letter, error) {
	letter, err := Get(ctx, pool, id)
	if err != nil {
		return Letter{}, err
	}
	if letter.RedrivenAt != nil {
		return letter, fmt.Errorf("redriving dead letter %s: %w at %s", id, ErrAlreadyRedriven,
			letter.RedrivenAt.UTC().Format(time.RFC3339))
	}
	if producer == nil {
		return letter, fmt.Errorf("redriving dead letter %s: %w: not running", id, ErrNotSent)
	}
	if err := kafka.Produce(ctx, producer, []*kgo.Record{letter.Record()}); err != nil {
		return letter, fmt.Errorf("redriving dead letter %s: %w: %w", id, ErrNotSent, err)
	}
	if err := crash.Fail(crash.DeadletterAfterRedrive); err != nil {
		return letter, fmt.Errorf("redriving dead letter %s: %w", id, err)
	}
	now := time.Now().UTC()
	if _, err := pool.Exec(ctx, markRedrivenSQL, id, now); err != nil {
		return letter, fmt.Errorf("marking dead letter %s as redriven: %w", id, err)
	}
	letter.RedrivenAt = &now
	return letter, nil
}

// Record is the record as it was, with a header that says that it comes from a letter.
func (l *Letter) Record() *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(l.Headers)+1)
	for _, h := range l.Headers {
		if h.Key != RedrivenHeader {
			headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	headers = append(headers, kgo.RecordHeader{Key: RedrivenHeader, Value: []byte(l.ID.String())})
	return &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value, Headers: headers}
}

func scanLetter(row pgx.CollectableRow) (Letter, error) {
	var (
		l           Letter
		headers     []byte
		reason      string
		dismissedAt *time.Time
		by, because *string
	)
	err := row.Scan(&l.ID, &l.Topic, &l.Partition, &l.Offset, &l.RecordTime, &l.Key, &l.Value, &headers,
		&reason, &l.Error, &l.At, &l.RedrivenAt, &dismissedAt, &by, &because)
	if err != nil {
		return Letter{}, err
	}
	l.Reason = Reason(reason)
	if dismissedAt != nil {
		l.Dismissal = &Dismissal{At: *dismissedAt, Reason: *because}
		if by != nil {
			l.Dismissal.By = *by
		}
	}
	if l.Headers, err = decodeHeaders(headers); err != nil {
		return Letter{}, fmt.Errorf("dead letter %s: %w", l.ID, err)
	}
	return l, nil
}
