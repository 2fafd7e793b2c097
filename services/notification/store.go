package notification

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// All SQL of the service. What writes takes a whole batch and sends the same number of statements for 1 and for 200.

const activeTemplatesSQL = `
SELECT key, locale, version, subject, text, html
FROM template
WHERE key = $1 AND active`

func activeTemplates(ctx context.Context, tx pgx.Tx, key string) ([]source, error) {
	rows, err := tx.Query(ctx, activeTemplatesSQL, key)
	if err != nil {
		return nil, fmt.Errorf("reading templates %s: %w", key, err)
	}
	sources, err := pgx.CollectRows(rows, pgx.RowToStructByName[source])
	if err != nil {
		return nil, fmt.Errorf("reading templates %s: %w", key, err)
	}
	return sources, nil
}

// draft is a notification as it is about to be queued.
type draft struct {
	NotificationID uuid.UUID
	DedupeKey      string
	OrderID        uuid.UUID
	SagaID         uuid.UUID
	Step           string
	Generation     int
	Address        string
	Name           string
	Reference      string
	content
}

const insertNotificationsSQL = `
INSERT INTO notification (
    notification_id, dedupe_key, order_id, saga_id, step, generation, channel, address, name, reference,
    template_key, template_locale, template_version, subject, text, html, state, created_at
)
SELECT notification_id, dedupe_key, order_id, saga_id, step, generation, 'email', address, name, reference,
       $15, locale, version, subject, text, html, 'queued', $16
FROM unnest(
    $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::int[], $12::text[], $13::text[], $14::text[]
) AS n (notification_id, dedupe_key, order_id, saga_id, step, generation, address, name, reference,
        locale, version, subject, text, html)
ON CONFLICT DO NOTHING
RETURNING notification_id`

// insertDrafts queues the drafts and says which are in. For one that is not, something with its dedupe key stands.
func insertDrafts(ctx context.Context, tx pgx.Tx, template string, drafts []draft, now time.Time,
) (map[uuid.UUID]bool, error) {
	n := len(drafts)
	if n == 0 {
		return nil, nil
	}
	var (
		ids, orders, sagas           = make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
		keys, steps                  = make([]string, n), make([]string, n)
		generations, versions        = make([]int32, n), make([]int32, n)
		addresses, names, references = make([]string, n), make([]string, n), make([]string, n)
		locales, subjects            = make([]string, n), make([]string, n)
		texts, htmls                 = make([]string, n), make([]string, n)
	)
	for i := range drafts {
		d := &drafts[i]
		ids[i], keys[i], orders[i], sagas[i] = d.NotificationID, d.DedupeKey, d.OrderID, d.SagaID
		steps[i], generations[i] = d.Step, int32(d.Generation)
		addresses[i], names[i], references[i] = d.Address, oneLine(d.Name), oneLine(d.Reference)
		locales[i], versions[i], subjects[i] = d.Locale, d.Version, d.Subject
		texts[i], htmls[i] = d.Text, d.HTML
	}
	rows, err := tx.Query(ctx, insertNotificationsSQL, ids, keys, orders, sagas, steps, generations, addresses, names,
		references, locales, versions, subjects, texts, htmls, template, now)
	if err != nil {
		return nil, fmt.Errorf("queueing %d notifications: %w", n, err)
	}
	in, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("queueing %d notifications: %w", n, err)
	}
	queued := make(map[uuid.UUID]bool, len(in))
	for _, id := range in {
		queued[id] = true
	}
	return queued, nil
}

// standing is the notification that has a dedupe key already.
type standing struct {
	DedupeKey      string
	NotificationID uuid.UUID
	State          State
}

const standingSQL = `
SELECT dedupe_key, notification_id, state
FROM notification
WHERE dedupe_key = ANY ($1::text[]) AND stands`

func standingFor(ctx context.Context, tx pgx.Tx, keys []string) (map[string]standing, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, standingSQL, keys)
	if err != nil {
		return nil, fmt.Errorf("reading %d notifications: %w", len(keys), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[standing])
	if err != nil {
		return nil, fmt.Errorf("reading %d notifications: %w", len(keys), err)
	}
	byKey := make(map[string]standing, len(found))
	for _, s := range found {
		byKey[s.DedupeKey] = s
	}
	return byKey, nil
}

// try is one try that is about to be made, or why it is not.
type try struct {
	NotificationID uuid.UUID
	OrderID        uuid.UUID
	Address        string
	Name           string
	Subject        string
	Text           string
	HTML           string
	CreatedAt      time.Time
	// Lost counts the tries before this one whose answer was lost, or which a process died in.
	Lost int
	// AttemptNo is 0 when the mail must not be sent: the order is over, or too many answers were lost.
	AttemptNo int
}

// beginSQL looks at the claim and stores the try in one statement, before anything is sent. Of two processes that begin
// the same try, the row lock and the key of the attempt let one through.
const beginSQL = `
WITH due AS (
    SELECT n.notification_id, n.order_id, n.address, n.name, n.subject, n.text, n.html, n.created_at,
           a.last_no, a.lost, a.lost < $3 AND coalesce(c.status <> ALL ($4::text[]), true) AS sendable
    FROM notification n
    LEFT JOIN order_claim c ON c.order_id = n.order_id
    CROSS JOIN LATERAL (
        SELECT coalesce(max(attempt_no), 0) AS last_no,
               count(*) FILTER (WHERE outcome IS NULL OR outcome = 'unknown') AS lost
        FROM delivery_attempt t
        WHERE t.notification_id = n.notification_id
    ) a
    WHERE n.notification_id = ANY ($1::uuid[]) AND n.state IN ('queued', 'in_doubt')
    ORDER BY n.notification_id
    FOR UPDATE OF n
),
tried AS (
    INSERT INTO delivery_attempt (notification_id, attempt_no, sent_at)
    SELECT notification_id, last_no + 1, $2
    FROM due
    WHERE sendable
)
SELECT notification_id, order_id, address, name, subject, text, html, created_at, lost,
       CASE WHEN sendable THEN last_no + 1 ELSE 0 END AS attempt_no
FROM due`

// begin stores tries. A notification that is settled is answered with nil.
func begin(ctx context.Context, pool *pgxpool.Pool, ids []uuid.UUID, now time.Time) ([]*try, error) {
	rows, err := pool.Query(ctx, beginSQL, ids, now, maxLostAnswers, overStatuses())
	if err != nil {
		return nil, fmt.Errorf("beginning %d tries: %w", len(ids), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[try])
	if err != nil {
		return nil, fmt.Errorf("beginning %d tries: %w", len(ids), err)
	}
	byID := make(map[uuid.UUID]*try, len(found))
	for _, t := range found {
		byID[t.NotificationID] = t
	}
	out := make([]*try, len(ids))
	for i, id := range ids {
		out[i] = byID[id]
	}
	return out, nil
}

// settled is what became of the wish to send one notification.
type settled struct {
	NotificationID uuid.UUID
	State          State
	Detail         string
	// AttemptNo is 0 when nothing was tried.
	AttemptNo int
	Outcome   AttemptOutcome
	SMTPCode  int
	EndedAt   time.Time
}

const settleAttemptsSQL = `
UPDATE delivery_attempt a
SET ended_at = s.ended_at,
    outcome = s.outcome,
    smtp_code = nullif(s.smtp_code, 0),
    detail = s.detail
FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::int[], $6::text[])
         AS s (notification_id, attempt_no, ended_at, outcome, smtp_code, detail)
WHERE a.notification_id = s.notification_id AND a.attempt_no = s.attempt_no`

const settleNotificationsSQL = `
UPDATE notification n
SET state = s.state,
    detail = s.detail,
    decided_at = CASE WHEN s.state NOT IN ('queued', 'in_doubt') THEN $4::timestamptz END
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS s (notification_id, state, detail)
WHERE n.notification_id = s.notification_id AND n.state IN ('queued', 'in_doubt')`

// settle writes what became of tries.
func settle(ctx context.Context, tx pgx.Tx, batch []settled, now time.Time) error {
	n := len(batch)
	var (
		ids             = make([]uuid.UUID, n)
		states, details = make([]string, n), make([]string, n)

		tried           []uuid.UUID
		attempts, codes []int32
		ends            []time.Time
		outcomes, texts []string
	)
	for i := range batch {
		s := &batch[i]
		ids[i], states[i], details[i] = s.NotificationID, string(s.State), plainText(s.Detail)
		if s.AttemptNo > 0 {
			tried, attempts = append(tried, s.NotificationID), append(attempts, int32(s.AttemptNo))
			ends, outcomes = append(ends, s.EndedAt), append(outcomes, string(s.Outcome))
			codes, texts = append(codes, int32(s.SMTPCode)), append(texts, plainText(s.Detail))
		}
	}
	var q pgx.Batch
	q.Queue(settleAttemptsSQL, tried, attempts, ends, outcomes, codes, texts)
	q.Queue(settleNotificationsSQL, ids, states, details, now)
	results := tx.SendBatch(ctx, &q)
	for _, want := range []struct {
		rows int
		what string
	}{{len(tried), "tries"}, {n, "notifications"}} {
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() != int64(want.rows) {
			err = fmt.Errorf("%d rows changed, want %d", tag.RowsAffected(), want.rows)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("settling %s of %d: %w", want.what, n, err), results.Close())
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("settling %d notifications: %w", n, err)
	}
	return nil
}

const keepClaimsSQL = `
INSERT INTO order_claim (order_id, status, revision, updated_at)
SELECT order_id, status, revision, $4
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS c (order_id, status, revision)
ON CONFLICT (order_id) DO UPDATE
SET status = EXCLUDED.status, revision = EXCLUDED.revision, updated_at = EXCLUDED.updated_at
WHERE (order_claim.revision, array_position($5::text[], order_claim.status))
    < (EXCLUDED.revision, array_position($5::text[], EXCLUDED.status))`

// keepClaims stores the newest claim of each order, in one statement. Older ones than those stored change nothing, in
// whatever order they arrive.
func keepClaims(ctx context.Context, tx pgx.Tx, claims []claim, now time.Time) error {
	newest := make(map[uuid.UUID]claim, len(claims))
	for _, c := range claims {
		if known, ok := newest[c.OrderID]; !ok || newer(c, known) {
			newest[c.OrderID] = c
		}
	}
	orders := make([]uuid.UUID, 0, len(newest))
	for id := range newest {
		orders = append(orders, id)
	}
	// In one order everywhere, so that two writers never wait for each other.
	slices.SortFunc(orders, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	statuses, revisions := make([]string, len(orders)), make([]int64, len(orders))
	for i, id := range orders {
		statuses[i], revisions[i] = string(newest[id].Status), newest[id].Revision
	}
	if _, err := tx.Exec(ctx, keepClaimsSQL, orders, statuses, revisions, now, ClaimStatuses()); err != nil {
		return fmt.Errorf("keeping the claims of %d orders: %w", len(orders), err)
	}
	return nil
}
