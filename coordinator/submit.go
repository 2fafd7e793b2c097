package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/coordinator/order"
	"recourse.dev/pkg/httpserver"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

const (
	// maxWait is the longest that Prefer: wait may ask for.
	maxWait = 60 * time.Second
	// maxWaits bounds the requests that wait for an end. Each holds one of the server's places for as long as the slowest
	// worker likes; with the event streams, which have half of the places, they leave a quarter to all others.
	maxWaits = 512
	// retryBroker is how long a shop is asked to stay away while the broker is.
	retryBroker = 5 * time.Second
)

// CreateOrder is POST /v1/orders.
func (a *api) CreateOrder(
	ctx context.Context, request coordinatorapi.CreateOrderRequestObject,
) (coordinatorapi.CreateOrderResponseObject, error) {
	if err := a.lags.away(); err != nil {
		// It would be stored and stay where it is; the shop's own retry serves the customer better. What was accepted
		// before goes on by itself when the broker is back.
		return nil, httpserver.NewProblem(httpserver.CodeUnavailable,
			"The message broker is away, so new orders are not taken. Please repeat the request.",
			httpserver.WithRetryAfter(retryBroker), httpserver.WithCause(err))
	}
	wait, err := preferredWait(value(request.Params.Prefer))
	if err != nil {
		return nil, err
	}
	key, err := idempotencyKey(scopeOrders, request.Params.IdempotencyKey, request.Body)
	if err != nil {
		return nil, err
	}
	id, err := a.intake.engine.names.next(a.intake.engine.clock.Now())
	if err != nil {
		return nil, err
	}
	document := documentOf(id, request.Body)
	if err := order.Validate(document); err != nil {
		return nil, problem(err)
	}
	accepted, err := a.intake.submit(ctx, submission{
		key: *key, order: document, id: id, span: trace.SpanContextFromContext(ctx),
		deadline: time.Duration(value(request.Body.DeadlineSeconds)) * time.Second,
	})
	if err != nil {
		return nil, problem(err)
	}
	if accepted.replayed {
		// Now and not with the answer, which may be a minute away: as many repeats as may wait would close the door.
		ticketOf(ctx).giveBack()
	}
	location := "/v1/orders/" + accepted.id.String()
	replayed := replayedHeader(accepted.replayed)
	if wait > 0 && a.awaitEnd(ctx, accepted.id, wait) {
		view, err := a.order(ctx, accepted.id)
		if err != nil {
			return nil, err
		}
		return coordinatorapi.CreateOrder200JSONResponse{
			Body:    view,
			Headers: coordinatorapi.CreateOrder200ResponseHeaders{Location: location, IdempotentReplayed: replayed},
		}, nil
	}
	return coordinatorapi.CreateOrder202JSONResponse{
		Body: coordinatorapi.OrderReceipt{
			ID: accepted.id, SagaID: accepted.id, Status: "accepted", Links: links(accepted.id.String()),
		},
		Headers: coordinatorapi.CreateOrder202ResponseHeaders{Location: location, IdempotentReplayed: replayed},
	}, nil
}

func replayedHeader(replayed bool) *string {
	if !replayed {
		return nil
	}
	return opt("true")
}

// idempotencyKey reads the header, quoted (as the draft standard has it) or not, and ties it to the request's content.
// The order of members and white space in the body do not matter.
func idempotencyKey(scope, header string, body any) (*requestKey, error) {
	key := unquoted(header)
	if strings.TrimSpace(key) == "" {
		return nil, httpserver.NewProblem(httpserver.CodeIdempotencyKeyMissing, "The key must not be empty.")
	}
	content, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("hashing a request: %w", err)
	}
	sum := sha256.Sum256(content)
	return &requestKey{keyName: keyName{scope: scope, key: key}, hash: sum[:]}, nil
}

func unquoted(key string) string {
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		return key[1 : len(key)-1]
	}
	return key
}

// preferredWait reads wait=N out of the Prefer header. Preferences that we do not know are ignored, as RFC 7240 says.
func preferredWait(header string) (time.Duration, error) {
	for _, preference := range strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ';' }) {
		name, text, _ := strings.Cut(strings.TrimSpace(preference), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.Atoi(strings.Trim(strings.TrimSpace(text), `"`))
		if err != nil || seconds < 0 {
			return 0, httpserver.NewProblem(httpserver.CodeValidationFailed, "Prefer: wait wants a number of seconds.",
				httpserver.WithErrors(httpserver.FieldError{
					Parameter: "Prefer", In: "header", Code: "wait", Detail: "want wait=N with N from 0 to 60",
				}))
		}
		return min(maxWait, time.Duration(min(seconds, 3600))*time.Second), nil
	}
	return 0, nil
}

// awaitEnd waits until the order's status is final. It is false when the time is over or the server stops first, and at
// once when as many wait as may.
func (a *api) awaitEnd(ctx context.Context, id uuid.UUID, wait time.Duration) bool {
	select {
	case a.waits <- struct{}{}:
		defer func() { <-a.waits }()
	default:
		return false
	}
	w := a.watch.add(id)
	defer a.watch.remove(w)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s, err := a.reader.saga(ctx, id)
		if err == nil && s.status.Ended() {
			return true
		}
		select {
		case <-w.C:
		case <-timer.C:
			return false
		case <-httpserver.Stopping(ctx):
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// documentOf is the order as it is stored, not yet validated.
func documentOf(id uuid.UUID, n *coordinatorapi.NewOrder) *orderv1.Order {
	o := &orderv1.Order{
		OrderId: id.String(), Shop: n.Shop, CustomerId: n.CustomerID, Reference: n.Reference, Currency: n.Currency,
		ShippingMinor: value(n.ShippingMinor), TaxMinor: value(n.TaxMinor), DiscountMinor: value(n.DiscountMinor),
		TotalMinor: n.TotalMinor, ShipTo: addressOf(&n.ShipTo), BillTo: addressOf(n.BillTo),
		PaymentToken: n.PaymentToken, Locale: value(n.Locale),
	}
	for _, l := range n.Lines {
		o.Lines = append(o.Lines, &orderv1.Line{
			LineId: value(l.LineID), Sku: l.Sku, Quantity: l.Quantity, UnitPriceMinor: l.UnitPriceMinor, Name: value(l.Name),
		})
	}
	return o
}

func addressOf(a *coordinatorapi.Address) *orderv1.Address {
	if a == nil {
		return nil
	}
	return &orderv1.Address{
		Name: a.Name, Lines: a.Lines, City: a.City, Region: value(a.Region), PostalCode: value(a.PostalCode),
		Country: a.Country, Phone: value(a.Phone), Email: value(a.Email),
	}
}
