package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/httpserver"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// api answers the operations of schemas/openapi/coordinator.yaml. A request that comes here follows the document.
type api struct {
	catalogue *catalogue
	intake    *intake
	reader    *reader
	watch     *watch
	lags      *lags
	// waits has a place for each request that waits for an end.
	waits    chan struct{}
	producer *kgo.Client
	log      *slog.Logger
}

var _ coordinatorapi.StrictServerInterface = (*api)(nil)

const retryOverloaded = time.Second

// problem says what went wrong in the words of the API. What it does not know is left to the server, which tells a
// database that is away (503) from a mistake of ours (500).
func problem(err error) error {
	switch {
	case errors.Is(err, coalesce.ErrFull):
		return httpserver.NewProblem(httpserver.CodeOverloaded, "Too many requests are waiting; please repeat this one.",
			httpserver.WithRetryAfter(retryOverloaded))
	case errors.Is(err, errKeyReused):
		return httpserver.NewProblem(httpserver.CodeIdempotencyKeyReused,
			"This Idempotency-Key was used for a request with another body. Use a new key for a new request.")
	case errors.Is(err, errUnknownDefinition):
		return httpserver.NewProblem(httpserver.CodeUnavailable,
			"The saga runs a definition that this build does not know. Ask a coordinator that does.",
			httpserver.WithRetryAfter(5*time.Second), httpserver.WithCause(err))
	}
	if invalid, ok := errors.AsType[*order.InvalidError](err); ok {
		return invalidOrder(invalid)
	}
	return err
}

func invalidOrder(invalid *order.InvalidError) error {
	faults := make([]httpserver.FieldError, len(invalid.Faults))
	for i, f := range invalid.Faults {
		faults[i] = httpserver.FieldError{Pointer: f.Pointer, Code: f.Code, Detail: f.Detail}
	}
	code := httpserver.CodeValidationFailed
	detail := fmt.Sprintf("%d faults; each of errors says where and what.", len(faults))
	if len(faults) == 1 {
		detail = invalid.Faults[0].Detail + "."
		switch invalid.Faults[0].Code {
		case "total_mismatch":
			code = httpserver.CodeTotalsMismatch
		case "unknown_currency":
			code = httpserver.CodeCurrencyUnknown
		}
	}
	return httpserver.NewProblem(code, detail, httpserver.WithErrors(faults...))
}

func orderNotFound(id uuid.UUID) error {
	return httpserver.NewProblem(httpserver.CodeOrderNotFound, "There is no order "+id.String()+".")
}

func sagaNotFound(id uuid.UUID) error {
	return httpserver.NewProblem(httpserver.CodeSagaNotFound, "There is no saga "+id.String()+".")
}

// GetOrder is GET /v1/orders/{order_id}.
func (a *api) GetOrder(
	ctx context.Context, request coordinatorapi.GetOrderRequestObject,
) (coordinatorapi.GetOrderResponseObject, error) {
	view, err := a.order(ctx, request.OrderID)
	if err != nil {
		return nil, err
	}
	return coordinatorapi.GetOrder200JSONResponse(view), nil
}

func (a *api) order(ctx context.Context, id uuid.UUID) (coordinatorapi.Order, error) {
	s, o, err := a.reader.order(ctx, id)
	if errors.Is(err, errNotFound) {
		return coordinatorapi.Order{}, orderNotFound(id)
	}
	if err != nil {
		return coordinatorapi.Order{}, err
	}
	return orderView(a.catalogue.byHash[s.Definition], s, o), nil
}

// ListOrders is GET /v1/orders.
func (a *api) ListOrders(
	ctx context.Context, request coordinatorapi.ListOrdersRequestObject,
) (coordinatorapi.ListOrdersResponseObject, error) {
	p := request.Params
	f := filter{
		CustomerID: value(p.CustomerID), SKU: value(p.Sku), Reference: value(p.Reference), Shop: value(p.Shop),
		Attention: string(value(p.Attention)), After: value(p.CreatedAfter), Before: value(p.CreatedBefore),
	}
	if p.Status != nil {
		f.Status, _ = saga.ParseStatus(string(*p.Status))
	}
	cursor, err := openCursor(value(p.Cursor), f.fingerprint())
	if err != nil {
		return nil, err
	}
	list, next, err := a.reader.list(ctx, f, cursor, limit(p.Limit))
	if err != nil {
		return nil, err
	}
	page := coordinatorapi.ListOrders200JSONResponse{Orders: []coordinatorapi.OrderSummary{}}
	for i := range list {
		page.Orders = append(page.Orders, summaryView(&list[i]))
	}
	if next != uuid.Nil {
		page.NextCursor = opt(sealCursor(next, f.fingerprint()))
	}
	return page, nil
}

// GetSaga is GET /v1/sagas/{saga_id}.
func (a *api) GetSaga(
	ctx context.Context, request coordinatorapi.GetSagaRequestObject,
) (coordinatorapi.GetSagaResponseObject, error) {
	s, err := a.saga(ctx, request.SagaID)
	if err != nil {
		return nil, err
	}
	return coordinatorapi.GetSaga200JSONResponse(sagaView(a.catalogue.byHash[s.Definition], s)), nil
}

func (a *api) saga(ctx context.Context, id uuid.UUID) (*stored, error) {
	s, err := a.reader.saga(ctx, id)
	if errors.Is(err, errNotFound) {
		return nil, sagaNotFound(id)
	}
	return s, err
}

// GetSagaHistory is GET /v1/sagas/{saga_id}/history.
func (a *api) GetSagaHistory(
	ctx context.Context, request coordinatorapi.GetSagaHistoryRequestObject,
) (coordinatorapi.GetSagaHistoryResponseObject, error) {
	var after int64
	if text := value(request.Params.Cursor); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, cursorInvalid()
		}
	}
	s, err := a.saga(ctx, request.SagaID)
	if err != nil {
		return nil, err
	}
	n := limit(request.Params.Limit)
	list, err := a.reader.history(ctx, s, after, n+1)
	if err != nil {
		return nil, err
	}
	page := coordinatorapi.GetSagaHistory200JSONResponse{Entries: []coordinatorapi.HistoryEntry{}}
	for i := range list[:min(n, len(list))] {
		page.Entries = append(page.Entries, entryView(&list[i]))
	}
	if len(list) > n {
		page.NextCursor = opt(strconv.FormatInt(list[n-1].seq, 10))
	}
	return page, nil
}

// ListDefinitions is GET /v1/definitions.
func (a *api) ListDefinitions(
	context.Context, coordinatorapi.ListDefinitionsRequestObject,
) (coordinatorapi.ListDefinitionsResponseObject, error) {
	answer := coordinatorapi.ListDefinitions200JSONResponse{
		Definitions: []coordinatorapi.Definition{}, SagaDiagram: saga.SagaDiagram(), StepDiagram: saga.StepDiagram(),
	}
	for _, d := range a.catalogue.all() {
		answer.Definitions = append(answer.Definitions, definitionView(d, d == a.catalogue.fulfilment))
	}
	return answer, nil
}

// value is what an optional parameter points to, or nothing.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

const defaultLimit = 50

func limit(p *int) int {
	if p == nil {
		return defaultLimit
	}
	return *p
}
