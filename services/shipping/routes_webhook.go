package shipping

import (
	"context"
	"net/http"
	"strings"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// ReceiveCarrierWebhook answers POST /v1/webhooks/carrier.
func (r *routes) ReceiveCarrierWebhook(
	ctx context.Context, request shippingapi.ReceiveCarrierWebhookRequestObject,
) (shippingapi.ReceiveCarrierWebhookResponseObject, error) {
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
	return shippingapi.ReceiveCarrierWebhook204Response{}, nil
}

// ListWebhookEvents answers GET /v1/webhook-events.
func (r *routes) ListWebhookEvents(
	ctx context.Context, request shippingapi.ListWebhookEventsRequestObject,
) (shippingapi.ListWebhookEventsResponseObject, error) {
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
	answer := shippingapi.ListWebhookEvents200JSONResponse{
		Events: make([]shippingapi.WebhookEvent, 0, len(events)), NextCursor: next,
	}
	for i := range events {
		e := &events[i]
		answer.Events = append(answer.Events, shippingapi.WebhookEvent{
			Source: e.Source, EventID: e.EventID, Type: e.Type, ObjectRef: e.ObjectRef, Reference: e.Reference,
			CreatedAt: e.CreatedAt.UTC(), ReceivedAt: e.ReceivedAt.UTC(),
			Outcome: shippingapi.WebhookOutcome(e.OutcomeText()), ProcessedAt: e.ProcessedAt,
			Payload: strings.ToValidUTF8(string(e.Payload), "\uFFFD"),
		})
	}
	return answer, nil
}
