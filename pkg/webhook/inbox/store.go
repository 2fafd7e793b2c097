package inbox

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/pg"
)

const storeSQL = `
INSERT INTO webhook_event (
    source, event_id, type, object_ref, reference, created_at, payload, received_at, outcome, processed_at
)
SELECT DISTINCT ON (event_id)
    @source::text, event_id, type, object_ref, reference, created_at, payload, received_at, nullif(outcome, ''),
    CASE WHEN outcome <> '' THEN @now::timestamptz END
FROM unnest(
    @ids::text[], @types::text[], @objects::text[], @references::text[], @created::timestamptz[], @payloads::bytea[],
    @received::timestamptz[], @outcomes::text[]
) AS e (event_id, type, object_ref, reference, created_at, payload, received_at, outcome)
ORDER BY event_id
ON CONFLICT (source, event_id) DO NOTHING
RETURNING event_id`

// store writes the events that are not there yet, with what they came to, and says for each delivery whether it was new.
func store(
	ctx context.Context, tx pgx.Tx, source string, batch []received, outcomes []string, now time.Time,
) ([]bool, error) {
	n := len(batch)
	var (
		ids, types, objects, references = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		created, arrived                = make([]time.Time, n), make([]time.Time, n)
		payloads                        = make([][]byte, n)
	)
	for i, r := range batch {
		ids[i], types[i], objects[i], references[i] = r.ID, short(r.Type), short(r.Object), short(r.Reference)
		created[i], arrived[i], payloads[i] = r.CreatedAt.UTC(), r.at.UTC(), r.payload
	}
	rows, err := tx.Query(ctx, storeSQL, pgx.StrictNamedArgs{
		"source": source, "ids": ids, "types": types, "objects": objects, "references": references,
		"created": created, "payloads": payloads, "received": arrived, "outcomes": outcomes, "now": now.UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("storing %d webhooks: %w", n, err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("storing %d webhooks: %w", n, err)
	}
	inserted := make(map[string]bool, len(stored))
	for _, id := range stored {
		inserted[id] = true
	}
	fresh := make([]bool, n)
	for i, r := range batch {
		// Of two deliveries in one batch the first is the new one.
		fresh[i] = inserted[r.ID]
		delete(inserted, r.ID)
	}
	return fresh, nil
}

// short makes a text that a column can hold: no broken UTF-8, no zero byte, not too long. The payload has it as it was.
func short(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	for len(text) > maxText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

const loadOpenSQL = `
SELECT event_id, type, object_ref, reference, created_at
FROM webhook_event
WHERE processed_at IS NULL AND source = @source
ORDER BY received_at
LIMIT @max
FOR UPDATE SKIP LOCKED`

func loadOpen(ctx context.Context, tx pgx.Tx, source string) ([]Event, error) {
	rows, err := tx.Query(ctx, loadOpenSQL, pgx.StrictNamedArgs{"source": source, "max": maxBatch})
	if err != nil {
		return nil, fmt.Errorf("loading webhooks: %w", err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	if err != nil {
		return nil, fmt.Errorf("loading webhooks: %w", err)
	}
	return events, nil
}

// The source comes with each event: as a constant it leads the planner through all events of the source, as long as it
// knows nothing of how many there are.
const finishSQL = `
UPDATE webhook_event AS e
SET outcome = f.outcome, processed_at = @now::timestamptz
FROM unnest(@sources::text[], @ids::text[], @outcomes::text[]) AS f (source, event_id, outcome)
WHERE e.source = f.source AND e.event_id = f.event_id`

func finish(ctx context.Context, tx pgx.Tx, source string, ids, outcomes []string, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, finishSQL, pgx.StrictNamedArgs{
		"sources": slices.Repeat([]string{source}, len(ids)), "ids": ids, "outcomes": outcomes, "now": now.UTC(),
	})
	if err != nil {
		return fmt.Errorf("finishing %d webhooks: %w", len(ids), err)
	}
	return nil
}

const pruneSQL = `
WITH old AS (
    SELECT event_id
    FROM webhook_event
    WHERE source = @source
        AND received_at < now() - @keep::float8 * interval '1 second'
        AND processed_at IS NOT NULL
    ORDER BY received_at
    LIMIT @max
    FOR UPDATE SKIP LOCKED
)
DELETE FROM webhook_event AS e
USING old
WHERE e.source = @source AND e.event_id = old.event_id`

func prune(ctx context.Context, pool *pgxpool.Pool, source string, keep time.Duration) (int64, error) {
	done, err := pool.Exec(ctx, pruneSQL, pgx.StrictNamedArgs{"source": source, "keep": keep.Seconds(), "max": maxBatch})
	if err != nil {
		return 0, fmt.Errorf("pruning webhooks: %w", err)
	}
	return done.RowsAffected(), nil
}

// Stored is an event as it is kept.
type Stored struct {
	Source      string
	EventID     string
	Type        string
	ObjectRef   string
	Reference   string
	CreatedAt   time.Time
	Payload     []byte
	ReceivedAt  time.Time
	Outcome     *string
	ProcessedAt *time.Time
}

// Filter narrows a list; nil is no condition.
type Filter struct {
	ObjectRef, Reference, Outcome *string
	// Cursor is what the page before has ended with.
	Cursor *string
	Limit  int
}

const listSQL = `
SELECT source, event_id, type, object_ref, reference, created_at, payload, received_at, outcome, processed_at
FROM webhook_event
WHERE (@object_ref::text IS NULL OR object_ref = @object_ref)
    AND (@reference::text IS NULL OR reference = @reference)
    AND (@outcome::text IS NULL OR COALESCE(outcome, 'waiting') = @outcome)
    AND (@received_at::timestamptz IS NULL OR (received_at, event_id) < (@received_at, @event_id::text))
ORDER BY received_at DESC, event_id DESC
LIMIT @limit`

// List returns events, the last to come first, and the cursor of the next page, which is nil after the last.
func List(ctx context.Context, pool *pgxpool.Pool, f Filter) ([]Stored, *string, error) {
	args := pgx.StrictNamedArgs{
		"object_ref": f.ObjectRef, "reference": f.Reference, "outcome": f.Outcome, "limit": f.Limit + 1,
		"received_at": nil, "event_id": nil,
	}
	if f.Cursor != nil {
		at, id, err := parseCursor(*f.Cursor)
		if err != nil {
			return nil, nil, httpserver.NewProblem(httpserver.CodeCursorInvalid,
				"Take next_cursor from the page before as it is, or leave cursor out to start again.",
				httpserver.WithCause(err))
		}
		args["received_at"], args["event_id"] = at, id
	}
	events, err := pg.Collect(ctx, pool, pgx.RowToStructByPos[Stored], listSQL, args)
	if err != nil {
		return nil, nil, fmt.Errorf("listing webhooks: %w", err)
	}
	if len(events) <= f.Limit {
		return events, nil, nil
	}
	events = events[:f.Limit]
	next := cursor(&events[f.Limit-1])
	return events, &next, nil
}

// OutcomeText is what became of the event; waiting while that is open.
func (s *Stored) OutcomeText() string {
	if s.Outcome == nil {
		return outcomeWaiting
	}
	return *s.Outcome
}

// cursor is the place of an event in the list.
func cursor(s *Stored) string {
	place := binary.BigEndian.AppendUint64(nil, uint64(s.ReceivedAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(place, s.EventID...))
}

// maxMicros is the end of the year 9999, which PostgreSQL can hold.
const maxMicros = 253402300799 * 1_000_000

func parseCursor(text string) (time.Time, string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return time.Time{}, "", err
	}
	const size = 8
	if len(raw) <= size {
		return time.Time{}, "", fmt.Errorf("a place of %d bytes", len(raw))
	}
	at, id := int64(binary.BigEndian.Uint64(raw)), string(raw[size:])
	if at < 0 || at > maxMicros || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return time.Time{}, "", errors.New("a place that no event has")
	}
	return time.UnixMicro(at).UTC(), id, nil
}
