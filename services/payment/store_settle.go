package payment

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// settled is what one call has taught about one operation.
type settled struct {
	operation  lockedOperation
	state      OperationState
	outcome    Outcome
	settlement Settlement
	probes     int
	// nextProbe is when the provider is asked again; zero when nothing is left to ask.
	nextProbe time.Time
	attempts  []attempt
}

// attempt is an exchange with its number, or one that was planned and never sent.
type attempt struct {
	operationID uuid.UUID
	no          int
	exchange    Exchange
}

const settleOperationsSQL = `
UPDATE operation
SET state = learnt.state,
	gateway_ref = learnt.gateway_ref,
	failure_class = learnt.failure_class,
	failure_code = learnt.failure_code,
	failure_detail = learnt.failure_detail,
	unknown_since = CASE WHEN learnt.decided THEN NULL ELSE COALESCE(operation.unknown_since, @now::timestamptz) END,
	unknown_reason = learnt.unknown_reason,
	next_probe_at = learnt.next_probe_at,
	probes = learnt.probes,
	decided_at = CASE WHEN learnt.decided THEN @now::timestamptz END
FROM unnest(
	@operation_ids::uuid[], @states::text[], @decided::boolean[], @gateway_refs::text[], @failure_classes::text[],
	@failure_codes::text[], @failure_details::text[], @unknown_reasons::text[], @next_probes::timestamptz[],
	@probes::integer[]
) AS learnt (
	operation_id, state, decided, gateway_ref, failure_class, failure_code, failure_detail, unknown_reason,
	next_probe_at, probes)
WHERE operation.operation_id = learnt.operation_id`

const settleIntentsSQL = `
UPDATE intent
SET state = learnt.state,
	authorized = intent.authorized + learnt.authorized,
	captured = intent.captured + learnt.captured,
	capture_pending = intent.capture_pending + learnt.capture_pending,
	voided = intent.voided + learnt.voided,
	expired = intent.expired + learnt.expired,
	gateway_ref = COALESCE(learnt.gateway_ref, intent.gateway_ref),
	capture_before = COALESCE(learnt.capture_before, intent.capture_before),
	updated_at = @now::timestamptz
FROM unnest(
	@intent_ids::uuid[], @states::text[], @authorized::bigint[], @captured::bigint[], @capture_pending::bigint[],
	@voided::bigint[], @expired::bigint[], @gateway_refs::text[], @capture_before::timestamptz[]
) AS learnt (
	intent_id, state, authorized, captured, capture_pending, voided, expired, gateway_ref, capture_before)
WHERE intent.intent_id = learnt.intent_id`

const recordAttemptsSQL = `
INSERT INTO attempt (
	operation_id, attempt_no, call, sent_at, ended_at, outcome, http_status, gateway_request_id, error_type,
	error_code, decline_code)
SELECT *
FROM unnest(
	@operation_ids::uuid[], @numbers::integer[], @calls::text[], @sent_at::timestamptz[], @ended_at::timestamptz[],
	@outcomes::text[], @http_statuses::integer[], @request_ids::text[], @error_types::text[], @error_codes::text[],
	@decline_codes::text[])
ON CONFLICT (operation_id, attempt_no) DO UPDATE
SET sent_at = EXCLUDED.sent_at,
	ended_at = EXCLUDED.ended_at,
	outcome = EXCLUDED.outcome,
	http_status = EXCLUDED.http_status,
	gateway_request_id = EXCLUDED.gateway_request_id,
	error_type = EXCLUDED.error_type,
	error_code = EXCLUDED.error_code,
	decline_code = EXCLUDED.decline_code`

const bookSQL = `
INSERT INTO journal (txn_id, kind, account, currency, amount, intent_id, operation_id, at)
SELECT operation_id, kind, account, currency, amount, intent_id, operation_id, @now::timestamptz
FROM unnest(
	@operation_ids::uuid[], @kinds::text[], @accounts::text[], @currencies::text[], @amounts::bigint[],
	@intent_ids::uuid[]
) AS entry (operation_id, kind, account, currency, amount, intent_id)`

// settleAll writes what was learnt: operations, intents, attempts and the journal, in one round trip.
func settleAll(ctx context.Context, tx pgx.Tx, all []settled, now time.Time) error {
	var batch pgx.Batch
	batch.Queue(settleOperationsSQL, operationArgs(all, now))
	batch.Queue(settleIntentsSQL, intentArgs(all, now))
	batch.Queue(recordAttemptsSQL, attemptArgs(all))
	batch.Queue(bookSQL, journalArgs(all, now))
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("settling %d operations: %w", len(all), err)
	}
	return nil
}

func operationArgs(all []settled, now time.Time) pgx.StrictNamedArgs {
	var (
		decided                              = make([]bool, len(all))
		refs, classes, codes, details, doubt = nulls(all), nulls(all), nulls(all), nulls(all), nulls(all)
	)
	for i, s := range all {
		switch o := s.outcome.(type) {
		case Succeeded:
			decided[i], refs[i] = true, orNull(o.Ref)
		case Refused:
			decided[i], classes[i] = true, orNull(string(o.Class))
			codes[i], details[i] = orNull(o.Code), orNull(o.Detail)
		case Unknown:
			doubt[i] = orNull(fmt.Sprintf("%s: %s", o.Reason, o.Detail))
		case NotFound:
			doubt[i] = orNull(string(DoubtNotVisible))
		}
	}
	return pgx.StrictNamedArgs{
		"operation_ids":   column(all, func(s settled) uuid.UUID { return s.operation.id }),
		"states":          column(all, func(s settled) string { return string(s.state) }),
		"decided":         decided,
		"gateway_refs":    refs,
		"failure_classes": classes,
		"failure_codes":   codes,
		"failure_details": details,
		"unknown_reasons": doubt,
		"next_probes":     column(all, func(s settled) *time.Time { return orNull(s.nextProbe) }),
		"probes":          column(all, func(s settled) int { return s.probes }),
		"now":             now,
	}
}

func nulls(all []settled) []*string { return make([]*string, len(all)) }

func intentArgs(all []settled, now time.Time) pgx.StrictNamedArgs {
	changed := make([]settled, 0, len(all))
	for _, s := range all {
		if s.settlement.State != "" {
			changed = append(changed, s)
		}
	}
	return pgx.StrictNamedArgs{
		"intent_ids":      column(changed, func(s settled) uuid.UUID { return s.operation.intentID }),
		"states":          column(changed, func(s settled) string { return string(s.settlement.State) }),
		"authorized":      column(changed, func(s settled) int64 { return s.settlement.Authorized }),
		"captured":        column(changed, func(s settled) int64 { return s.settlement.Captured }),
		"capture_pending": column(changed, func(s settled) int64 { return s.settlement.CapturePending }),
		"voided":          column(changed, func(s settled) int64 { return s.settlement.Voided }),
		"expired":         column(changed, func(s settled) int64 { return s.settlement.Expired }),
		"gateway_refs":    column(changed, func(s settled) *string { return orNull(s.settlement.GatewayRef) }),
		"capture_before":  column(changed, func(s settled) *time.Time { return orNull(s.settlement.CaptureBefore) }),
		"now":             now,
	}
}

func attemptArgs(all []settled) pgx.StrictNamedArgs {
	var attempts []attempt
	for _, s := range all {
		attempts = append(attempts, s.attempts...)
	}
	return pgx.StrictNamedArgs{
		"operation_ids": column(attempts, func(a attempt) uuid.UUID { return a.operationID }),
		"numbers":       column(attempts, func(a attempt) int { return a.no }),
		"calls":         column(attempts, func(a attempt) string { return string(a.exchange.Call) }),
		"sent_at":       column(attempts, func(a attempt) time.Time { return a.exchange.SentAt }),
		"ended_at":      column(attempts, func(a attempt) time.Time { return a.exchange.EndedAt }),
		"outcomes":      column(attempts, func(a attempt) string { return string(a.exchange.Outcome) }),
		"http_statuses": column(attempts, func(a attempt) *int { return orNull(a.exchange.HTTPStatus) }),
		"request_ids":   column(attempts, func(a attempt) *string { return orNull(a.exchange.RequestID) }),
		"error_types":   column(attempts, func(a attempt) *string { return orNull(a.exchange.ErrorType) }),
		"error_codes":   column(attempts, func(a attempt) *string { return orNull(a.exchange.ErrorCode) }),
		"decline_codes": column(attempts, func(a attempt) *string { return orNull(a.exchange.DeclineCode) }),
	}
}

// entry is one half of an operation's movement.
type entry struct {
	Entry
	operation lockedOperation
	kind      JournalKind
}

func journalArgs(all []settled, now time.Time) pgx.StrictNamedArgs {
	var entries []entry
	for _, s := range all {
		for _, e := range s.settlement.Entries(s.operation.amount.Minor) {
			entries = append(entries, entry{e, s.operation, s.settlement.Journal})
		}
	}
	return pgx.StrictNamedArgs{
		"operation_ids": column(entries, func(e entry) uuid.UUID { return e.operation.id }),
		"kinds":         column(entries, func(e entry) string { return string(e.kind) }),
		"accounts":      column(entries, func(e entry) string { return string(e.Account) }),
		"currencies":    column(entries, func(e entry) string { return string(e.operation.amount.Currency) }),
		"amounts":       column(entries, func(e entry) int64 { return e.Amount }),
		"intent_ids":    column(entries, func(e entry) uuid.UUID { return e.operation.intentID }),
		"now":           now,
	}
}
