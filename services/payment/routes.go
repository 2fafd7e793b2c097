package payment

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/webhook/inbox"
	paymentapi "recourse.dev/schemas/gen/api/payment"
)

// routes answers the API. Requests that reach it follow the API's description.
type routes struct {
	pool *pgxpool.Pool
	// redrive is the worker's.
	redrive func(context.Context, uuid.UUID) (deadletter.Letter, error)
	inbox   *inbox.Inbox
}

var _ paymentapi.StrictServerInterface = (*routes)(nil)

const defaultLimit = 50

// ListPayments answers GET /v1/payments.
func (r *routes) ListPayments(
	ctx context.Context, request paymentapi.ListPaymentsRequestObject,
) (paymentapi.ListPaymentsResponseObject, error) {
	limit, before, err := page(request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	// One more than asked for tells whether there is a next page.
	rows, err := listPayments(ctx, r.pool, paymentFilter{
		orderID: request.Params.OrderID, state: (*string)(request.Params.State), before: before, limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	answer := paymentapi.ListPayments200JSONResponse{Payments: make([]paymentapi.Payment, 0, len(rows))}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.NextCursor = writeCursor(rows[limit-1].IntentID[:])
	}
	for i := range rows {
		answer.Payments = append(answer.Payments, rows[i].api())
	}
	return answer, nil
}

// GetPayment answers GET /v1/payments/{intent_id}.
func (r *routes) GetPayment(
	ctx context.Context, request paymentapi.GetPaymentRequestObject,
) (paymentapi.GetPaymentResponseObject, error) {
	detail, err := getPayment(ctx, r.pool, request.IntentID)
	if errors.Is(err, errNotFound) {
		return nil, httpserver.NewProblem(httpserver.CodeNotFound,
			fmt.Sprintf("There is no payment %s; GET /v1/payments lists them.", request.IntentID))
	}
	if err != nil {
		return nil, err
	}
	payment := detail.payment.api()
	operations := make([]paymentapi.Operation, 0, len(detail.operations))
	for i := range detail.operations {
		o := &detail.operations[i]
		operations = append(operations, o.api(detail.attempts[o.OperationID]))
	}
	payment.Operations = &operations
	return paymentapi.GetPayment200JSONResponse(payment), nil
}

// api is the row as the API shows it.
func (p *paymentRow) api() paymentapi.Payment {
	return paymentapi.Payment{
		IntentID: p.IntentID, OrderID: p.OrderID, CustomerID: p.CustomerID, Reference: p.Reference,
		State: paymentapi.PaymentState(p.State), Currency: p.Currency, AmountMinor: p.Amount,
		AuthorizedMinor: p.Authorized, CapturedMinor: p.Captured, VoidedMinor: p.Voided, ExpiredMinor: p.Expired,
		RefundedMinor: p.Refunded, HeldMinor: p.Authorized - p.Captured - p.Voided - p.Expired,
		Gateway: p.Gateway, GatewayRef: p.GatewayRef, CaptureBefore: utc(p.CaptureBefore),
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

// api is the row and its attempts as the API shows them.
func (o *operationRow) api(attempts []attemptRow) paymentapi.Operation {
	shown := make([]paymentapi.Attempt, 0, len(attempts))
	for _, a := range attempts {
		shown = append(shown, paymentapi.Attempt{
			AttemptNo: a.AttemptNo, Call: paymentapi.AttemptCall(a.Call), SentAt: a.SentAt.UTC(), EndedAt: utc(a.EndedAt),
			Outcome: (*paymentapi.AttemptOutcome)(a.Outcome), HTTPStatus: a.HTTPStatus,
			GatewayRequestID: a.GatewayRequestID, ErrorType: a.ErrorType, ErrorCode: a.ErrorCode,
			DeclineCode: a.DeclineCode,
		})
	}
	return paymentapi.Operation{
		OperationID: o.OperationID, Kind: paymentapi.OperationKind(o.Kind), AmountMinor: o.Amount,
		State: paymentapi.OperationState(o.State), IdempotencyKey: o.IdempotencyKey, GatewayRef: o.GatewayRef,
		FailureClass: (*paymentapi.OperationFailureClass)(o.FailureClass), FailureCode: o.FailureCode,
		FailureDetail: o.FailureDetail, RequestedAt: o.RequestedAt.UTC(), UnknownSince: utc(o.UnknownSince),
		UnknownReason: o.UnknownReason, NextProbeAt: utc(o.NextProbeAt), DecidedAt: utc(o.DecidedAt), Attempts: shown,
	}
}

// ListOperations answers GET /v1/operations.
func (r *routes) ListOperations(
	ctx context.Context, request paymentapi.ListOperationsRequestObject,
) (paymentapi.ListOperationsResponseObject, error) {
	var after deskCursor
	if cursor := request.Params.Cursor; cursor != nil {
		raw, err := base64.RawURLEncoding.DecodeString(*cursor)
		if err == nil {
			err = after.read(raw)
		}
		if err != nil {
			return nil, wrongCursor(err)
		}
	}
	limit := limitOf(request.Params.Limit)
	rows, err := listDesk(ctx, r.pool, string(request.Params.State), after, limit+1)
	if err != nil {
		return nil, err
	}
	answer := paymentapi.ListOperations200JSONResponse{Operations: make([]paymentapi.OpenOperation, 0, len(rows))}
	if len(rows) > limit {
		rows = rows[:limit]
		last := deskCursor{rows[limit-1].Since, rows[limit-1].OperationID}
		answer.NextCursor = writeCursor(last.write())
	}
	for _, o := range rows {
		answer.Operations = append(answer.Operations, paymentapi.OpenOperation{
			OperationID: o.OperationID, IntentID: o.IntentID, OrderID: o.OrderID,
			Kind: paymentapi.OperationKind(o.Kind), State: paymentapi.OperationState(o.State),
			AtRiskMinor: o.Amount, Currency: o.Currency, RequestedAt: o.RequestedAt.UTC(),
			UnknownSince: utc(o.UnknownSince), UnknownReason: o.UnknownReason, AgeSeconds: o.AgeSeconds,
			NextProbeAt: utc(o.NextProbeAt), Probes: o.Probes,
		})
	}
	return answer, nil
}

// GetTotals answers GET /v1/totals.
func (r *routes) GetTotals(
	ctx context.Context, _ paymentapi.GetTotalsRequestObject,
) (paymentapi.GetTotalsResponseObject, error) {
	t, err := readTotals(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	answer := paymentapi.GetTotals200JSONResponse{Currencies: make([]paymentapi.CurrencyTotals, 0, len(t.intents))}
	for _, row := range t.intents {
		answer.Currencies = append(answer.Currencies, paymentapi.CurrencyTotals{
			Currency: row.Currency, Intents: row.api(), Journal: t.journal[row.Currency].api(),
			InDoubt: t.inDoubt[row.Currency],
		})
	}
	return answer, nil
}

func (t totalsRow) api() paymentapi.MoneyTotals {
	return paymentapi.MoneyTotals{
		Authorized: t.Authorized, Captured: t.Captured, Voided: t.Voided, Expired: t.Expired,
		Refunded: t.Refunded, Held: t.Held,
	}
}

// ListDeadLetters answers GET /v1/dead-letters.
func (r *routes) ListDeadLetters(
	ctx context.Context, request paymentapi.ListDeadLettersRequestObject,
) (paymentapi.ListDeadLettersResponseObject, error) {
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
	answer := paymentapi.ListDeadLetters200JSONResponse{DeadLetters: make([]paymentapi.DeadLetter, 0, len(letters))}
	if next != uuid.Nil {
		answer.NextCursor = writeCursor(next[:])
	}
	for i := range letters {
		answer.DeadLetters = append(answer.DeadLetters, paymentapi.DeadLetter(letters[i].View()))
	}
	return answer, nil
}

// RedriveDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/redrive.
func (r *routes) RedriveDeadLetter(
	ctx context.Context, request paymentapi.RedriveDeadLetterRequestObject,
) (paymentapi.RedriveDeadLetterResponseObject, error) {
	letter, err := r.redrive(ctx, request.DeadLetterID)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return paymentapi.RedriveDeadLetter200JSONResponse(letter.View()), nil
}

// DismissDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/dismiss.
func (r *routes) DismissDeadLetter(
	ctx context.Context, request paymentapi.DismissDeadLetterRequestObject,
) (paymentapi.DismissDeadLetterResponseObject, error) {
	letter, err := deadletter.Dismiss(ctx, r.pool, request.DeadLetterID, request.Body.Operator, request.Body.Reason)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return paymentapi.DismissDeadLetter200JSONResponse(letter.View()), nil
}

func limitOf(limit *int) int {
	if limit == nil {
		return defaultLimit
	}
	return *limit
}

// page reads the parameters of lists whose cursor is an id.
func page(limit *int, cursor *string) (int, *uuid.UUID, error) {
	if cursor == nil {
		return limitOf(limit), nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*cursor)
	if err != nil {
		return 0, nil, wrongCursor(err)
	}
	id, err := uuid.FromBytes(raw)
	if err != nil {
		return 0, nil, wrongCursor(err)
	}
	return limitOf(limit), &id, nil
}

func wrongCursor(cause error) error {
	return httpserver.NewProblem(httpserver.CodeCursorInvalid,
		"Take next_cursor from the page before as it is, or leave cursor out to start again.",
		httpserver.WithCause(cause))
}

func writeCursor(place []byte) *string {
	text := base64.RawURLEncoding.EncodeToString(place)
	return &text
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	in := t.UTC()
	return &in
}
