package payment

import (
	"context"
	"net/http"
	"strings"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	paymentapi "recourse.dev/schemas/gen/api/payment"
)

// ReceiveGatewayWebhook answers POST /v1/webhooks/gateway.
func (r *routes) ReceiveGatewayWebhook(
	ctx context.Context, request paymentapi.ReceiveGatewayWebhookRequestObject,
) (paymentapi.ReceiveGatewayWebhookResponseObject, error) {
	header := http.Header{}
	for name, value := range map[string]*string{
		webhook.HeaderID:        request.Params.WebhookID,
		webhook.HeaderTimestamp: request.Params.WebhookTimestamp,
		webhook.HeaderSignature: request.Params.WebhookSignature,
	} {
		if value != nil {
			header.Set(name, *value)
		}
	}
	// Signed are the bytes that came, not what they mean.
	if err := r.inbox.Receive(ctx, header, httpserver.Body(ctx)); err != nil {
		return nil, err
	}
	return paymentapi.ReceiveGatewayWebhook204Response{}, nil
}

// ListWebhookEvents answers GET /v1/webhook-events.
func (r *routes) ListWebhookEvents(
	ctx context.Context, request paymentapi.ListWebhookEventsRequestObject,
) (paymentapi.ListWebhookEventsResponseObject, error) {
	limit := defaultLimit
	if request.Params.Limit != nil {
		limit = *request.Params.Limit
	}
	events, next, err := inbox.List(ctx, r.pool, inbox.Filter{
		ObjectRef: request.Params.ObjectRef, Reference: request.Params.Reference,
		Outcome: (*string)(request.Params.Outcome), Cursor: request.Params.Cursor, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	answer := paymentapi.ListWebhookEvents200JSONResponse{
		Events: make([]paymentapi.WebhookEvent, 0, len(events)), NextCursor: next,
	}
	for i := range events {
		e := &events[i]
		answer.Events = append(answer.Events, paymentapi.WebhookEvent{
			Source: e.Source, EventID: e.EventID, Type: e.Type, ObjectRef: e.ObjectRef, Reference: e.Reference,
			CreatedAt: e.CreatedAt.UTC(), ReceivedAt: e.ReceivedAt.UTC(),
			Outcome: paymentapi.WebhookOutcome(e.OutcomeText()), ProcessedAt: e.ProcessedAt,
			Payload: strings.ToValidUTF8(string(e.Payload), "\uFFFD"),
		})
	}
	return answer, nil
}
