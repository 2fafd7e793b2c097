package notification

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	notificationapi "recourse.dev/schemas/gen/api/notification"
)

// routes answers the API. Requests that reach it follow the API's description.
type routes struct {
	pool *pgxpool.Pool
	// redrive is the worker's.
	redrive func(context.Context, uuid.UUID) (deadletter.Letter, error)
	domain  string
}

const defaultLimit = 50

// ListNotifications answers GET /v1/notifications.
func (r *routes) ListNotifications(
	ctx context.Context, request notificationapi.ListNotificationsRequestObject,
) (notificationapi.ListNotificationsResponseObject, error) {
	limit, cursor, err := page(request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	// One more than asked for tells whether there is a next page.
	rows, err := listNotifications(ctx, r.pool, filter{
		OrderID: request.Params.OrderID, State: (*string)(request.Params.State), Before: cursor, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	answer := notificationapi.ListNotifications200JSONResponse{
		Notifications: make([]notificationapi.NotificationSummary, 0, len(rows)),
	}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.NextCursor = writeCursor(rows[limit-1].NotificationID)
	}
	for i := range rows {
		n := &rows[i]
		answer.Notifications = append(answer.Notifications, notificationapi.NotificationSummary{
			NotificationID: n.NotificationID, OrderID: n.OrderID, State: notificationapi.NotificationState(n.State),
			Template: n.TemplateKey, Locale: n.TemplateLocale, Address: n.Address, Subject: n.Subject,
			Detail: optional(n.Detail), CreatedAt: n.CreatedAt.UTC(), DecidedAt: n.DecidedAt,
		})
	}
	return answer, nil
}

// GetNotification answers GET /v1/notifications/{notification_id}.
func (r *routes) GetNotification(
	ctx context.Context, request notificationapi.GetNotificationRequestObject,
) (notificationapi.GetNotificationResponseObject, error) {
	var found record
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) (err error) {
			found, err = getNotification(ctx, tx, request.NotificationID)
			return err
		})
	if errors.Is(err, errNotFound) {
		return nil, httpserver.NewProblem(httpserver.CodeNotFound,
			fmt.Sprintf("There is no notification %s; GET /v1/notifications lists them.", request.NotificationID))
	}
	if err != nil {
		return nil, err
	}
	answer := notificationapi.GetNotification200JSONResponse{
		NotificationID: found.NotificationID, OrderID: found.OrderID, SagaID: found.SagaID,
		MessageID: "<" + MessageID(found.NotificationID, r.domain) + ">", DedupeKey: found.DedupeKey,
		State: notificationapi.NotificationState(found.State), Template: found.TemplateKey,
		TemplateVersion: found.TemplateVersion, Locale: found.TemplateLocale, Address: found.Address,
		Name: optional(found.Name), Subject: found.Subject, Text: found.Text, HTML: found.HTML,
		Detail: optional(found.Detail), CreatedAt: found.CreatedAt.UTC(), DecidedAt: found.DecidedAt,
		Attempts: make([]notificationapi.Attempt, 0, len(found.Attempts)),
	}
	for _, a := range found.Attempts {
		answer.Attempts = append(answer.Attempts, notificationapi.Attempt{
			AttemptNo: a.AttemptNo, SentAt: a.SentAt.UTC(), EndedAt: a.EndedAt,
			Outcome: (*notificationapi.AttemptOutcome)(a.Outcome), SMTPCode: a.SMTPCode, Detail: optional(a.Detail),
		})
	}
	return answer, nil
}

// GetTotals answers GET /v1/totals.
func (r *routes) GetTotals(
	ctx context.Context, _ notificationapi.GetTotalsRequestObject,
) (notificationapi.GetTotalsResponseObject, error) {
	n, err := countStates(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	return notificationapi.GetTotals200JSONResponse{
		Queued: n[Queued], InDoubt: n[InDoubt], Sent: n[Sent], Suppressed: n[Suppressed], Bounced: n[Bounced],
		Undeliverable: n[Undeliverable], Unknown: n[UnknownDelivery],
	}, nil
}

// ListDeadLetters answers GET /v1/dead-letters.
func (r *routes) ListDeadLetters(
	ctx context.Context, request notificationapi.ListDeadLettersRequestObject,
) (notificationapi.ListDeadLettersResponseObject, error) {
	limit, cursor, err := page(request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	var before uuid.UUID
	if cursor != nil {
		before = *cursor
	}
	letters, next, err := deadletter.List(ctx, r.pool, before, limit)
	if err != nil {
		return nil, err
	}
	answer := notificationapi.ListDeadLetters200JSONResponse{
		DeadLetters: make([]notificationapi.DeadLetter, 0, len(letters)),
	}
	if next != uuid.Nil {
		answer.NextCursor = writeCursor(next)
	}
	for i := range letters {
		answer.DeadLetters = append(answer.DeadLetters, notificationapi.DeadLetter(letters[i].View()))
	}
	return answer, nil
}

// RedriveDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/redrive.
func (r *routes) RedriveDeadLetter(
	ctx context.Context, request notificationapi.RedriveDeadLetterRequestObject,
) (notificationapi.RedriveDeadLetterResponseObject, error) {
	letter, err := r.redrive(ctx, request.DeadLetterID)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return notificationapi.RedriveDeadLetter200JSONResponse(letter.View()), nil
}

// DismissDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/dismiss.
func (r *routes) DismissDeadLetter(
	ctx context.Context, request notificationapi.DismissDeadLetterRequestObject,
) (notificationapi.DismissDeadLetterResponseObject, error) {
	letter, err := deadletter.Dismiss(ctx, r.pool, request.DeadLetterID, request.Body.Operator, request.Body.Reason)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return notificationapi.DismissDeadLetter200JSONResponse(letter.View()), nil
}

// page reads the parameters that every list has.
func page(limit *int, cursor *string) (int, *uuid.UUID, error) {
	n := defaultLimit
	if limit != nil {
		n = *limit
	}
	if cursor == nil {
		return n, nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*cursor)
	if err == nil {
		var id uuid.UUID
		if id, err = uuid.FromBytes(raw); err == nil {
			return n, &id, nil
		}
	}
	return 0, nil, httpserver.NewProblem(httpserver.CodeCursorInvalid,
		"Take next_cursor from the page before as it is, or leave cursor out to start again.", httpserver.WithCause(err))
}

func writeCursor(id uuid.UUID) *string {
	text := base64.RawURLEncoding.EncodeToString(id[:])
	return &text
}

// optional leaves an empty text out of the document.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var _ notificationapi.StrictServerInterface = (*routes)(nil)
