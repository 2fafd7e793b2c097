package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// CancelOrder is POST /v1/orders/{order_id}/cancel.
func (a *api) CancelOrder(
	ctx context.Context, request coordinatorapi.CancelOrderRequestObject,
) (coordinatorapi.CancelOrderResponseObject, error) {
	id := request.OrderID
	ev := saga.Event{Kind: saga.CancelRequested, Actor: "customer"}
	if request.Body != nil {
		ev.Detail = value(request.Body.Reason)
	}
	var key *requestKey
	if header := request.Params.IdempotencyKey; header != nil {
		var err error
		if key, err = idempotencyKey("cancel:"+id.String(), *header, ev.Detail); err != nil {
			return nil, err
		}
	}
	r, err := a.intake.wish(ctx, id, ev, key)
	if errors.Is(err, errUnknownSaga) {
		return nil, orderNotFound(id)
	}
	if err != nil {
		return nil, problem(err)
	}
	d := a.catalogue.byHash[r.saga.Definition]
	answer := coordinatorapi.CancelAnswer{
		Answer: coordinatorapi.CancelAnswerAnswer(r.verdict.String()),
		Status: coordinatorapi.OrderStatus(saga.StatusOf(d, r.saga).String()),
	}
	headers := replayedHeader(r.replayed)
	switch r.verdict {
	case saga.TooLate:
		return nil, httpserver.NewProblem(httpserver.CodeTooLate,
			"The order is paid for and cannot be cancelled any more. Let the customer return the goods and refund them.",
			httpserver.WithExtra("order", links(id.String()).Self), httpserver.WithExtra("way_back", "return"))
	case saga.AlreadyEnded:
		answer.Detail = opt("The order has ended already; there is nothing to cancel.")
		return coordinatorapi.CancelOrder200JSONResponse{
			Body: answer, Headers: coordinatorapi.CancelOrder200ResponseHeaders{IdempotentReplayed: headers},
		}, nil
	case saga.PendingDecision:
		answer.Detail = opt("The charge is on its way; if it is refused the order is undone, else it is too late.")
	case saga.Agreed:
		answer.Detail = opt("What was done is being undone.")
	case saga.NotPossible:
		return nil, httpserver.NewProblem(httpserver.CodeConflict, "The order cannot be cancelled in its present state.")
	}
	return coordinatorapi.CancelOrder202JSONResponse{
		Body: answer, Headers: coordinatorapi.CancelOrder202ResponseHeaders{IdempotentReplayed: headers},
	}, nil
}

// verbs are what an operator can do to a saga; the first two name a step.
var verbs = map[coordinatorapi.SagaActionType]saga.EventKind{
	"retry": saga.OperatorRetry, "settle": saga.OperatorSettle,
	"pause": saga.OperatorPause, "resume": saga.OperatorResume, "undo": saga.OperatorUndo, "close": saga.OperatorClose,
}

// ActOnSaga is POST /v1/sagas/{saga_id}/actions.
func (a *api) ActOnSaga(
	ctx context.Context, request coordinatorapi.ActOnSagaRequestObject,
) (coordinatorapi.ActOnSagaResponseObject, error) {
	id, body := request.SagaID, request.Body
	ev := saga.Event{Kind: verbs[body.Type], Actor: "operator", Detail: body.Reason, Evidence: value(body.Evidence)}
	if name := value(body.Operator); name != "" {
		ev.Actor = "operator:" + name
	}
	s, err := a.saga(ctx, id)
	if err != nil {
		return nil, err
	}
	d := a.catalogue.byHash[s.Definition]
	if d == nil {
		return nil, problem(errUnknownDefinition)
	}
	if ev.Kind == saga.OperatorRetry || ev.Kind == saga.OperatorSettle {
		step, ok := d.Index(value(body.Step))
		if !ok {
			return nil, httpserver.NewProblem(httpserver.CodeValidationFailed, "The action needs one of the saga's steps.",
				httpserver.WithErrors(httpserver.FieldError{
					Pointer: "/step", Code: "unknown_step", Detail: fmt.Sprintf("%s has no step %q", d.Name(), value(body.Step)),
				}))
		}
		ev.Step = step
	}
	r, err := a.intake.wish(ctx, id, ev, nil)
	if errors.Is(err, errUnknownSaga) {
		return nil, sagaNotFound(id)
	}
	if err != nil {
		return nil, problem(err)
	}
	switch r.verdict {
	case saga.TooLate:
		return nil, httpserver.NewProblem(httpserver.CodeTooLate,
			"The point of no return is behind; the saga only goes forward.")
	case saga.AlreadyEnded, saga.NotPossible:
		return nil, httpserver.NewProblem(httpserver.CodeConflict,
			fmt.Sprintf("%s does not fit the saga's present state (%s).", body.Type, r.saga.State))
	case saga.Agreed, saga.PendingDecision:
	}
	answer := coordinatorapi.ActionAnswer{
		Type: string(body.Type), Answer: coordinatorapi.ActionAnswerAnswer(r.verdict.String()), State: r.saga.State.String(),
	}
	if ev.Kind == saga.OperatorClose {
		residue := []coordinatorapi.Effect{}
		for _, e := range saga.Residue(d, r.saga) {
			residue = append(residue, effectView(e))
		}
		answer.Residue = &residue
	}
	return coordinatorapi.ActOnSaga202JSONResponse(answer), nil
}

// ListDeadLetters is GET /v1/dead-letters.
func (a *api) ListDeadLetters(
	ctx context.Context, request coordinatorapi.ListDeadLettersRequestObject,
) (coordinatorapi.ListDeadLettersResponseObject, error) {
	cursor, err := openCursor(value(request.Params.Cursor), "dead-letters")
	if err != nil {
		return nil, err
	}
	list, next, err := deadletter.List(ctx, a.reader.pool, cursor, limit(request.Params.Limit))
	if err != nil {
		return nil, err
	}
	page := coordinatorapi.ListDeadLetters200JSONResponse{DeadLetters: []coordinatorapi.DeadLetter{}}
	for i := range list {
		page.DeadLetters = append(page.DeadLetters, letterView(&list[i]))
	}
	if next != uuid.Nil {
		page.NextCursor = opt(sealCursor(next, "dead-letters"))
	}
	return page, nil
}

// RedriveDeadLetter is POST /v1/dead-letters/{dead_letter_id}/redrive.
func (a *api) RedriveDeadLetter(
	ctx context.Context, request coordinatorapi.RedriveDeadLetterRequestObject,
) (coordinatorapi.RedriveDeadLetterResponseObject, error) {
	letter, err := deadletter.Redrive(ctx, a.reader.pool, a.producer, request.DeadLetterID)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return coordinatorapi.RedriveDeadLetter200JSONResponse(letterView(&letter)), nil
}

// DismissDeadLetter is POST /v1/dead-letters/{dead_letter_id}/dismiss.
func (a *api) DismissDeadLetter(
	ctx context.Context, request coordinatorapi.DismissDeadLetterRequestObject,
) (coordinatorapi.DismissDeadLetterResponseObject, error) {
	body := request.Body
	letter, err := deadletter.Dismiss(ctx, a.reader.pool, request.DeadLetterID, body.Operator, body.Reason)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return coordinatorapi.DismissDeadLetter200JSONResponse(letterView(&letter)), nil
}

func letterView(l *deadletter.Letter) coordinatorapi.DeadLetter {
	of := l.View()
	v := coordinatorapi.DeadLetter{
		ID: of.ID, Topic: of.Topic, Partition: of.Partition, Offset: of.Offset, Key: of.Key, Value: of.Value,
		Reason: coordinatorapi.DeadLetterReason(of.Reason), Error: of.Error, At: of.At, RedrivenAt: of.RedrivenAt,
		DismissedAt: of.DismissedAt, DismissedBy: of.DismissedBy, DismissedReason: of.DismissedReason,
	}
	if of.Headers != nil {
		headers := make([]coordinatorapi.RecordHeader, len(*of.Headers))
		for i, h := range *of.Headers {
			headers[i] = coordinatorapi.RecordHeader(h)
		}
		v.Headers = &headers
	}
	return v
}
