package inventory

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// API answers the shop over REST; schemas/openapi/inventory.yaml describes it, and requests have been checked against
// that before they come here.
type API struct {
	pool *pgxpool.Pool
	now  func() time.Time
	// redrive is the worker's.
	redrive func(context.Context, uuid.UUID) (deadletter.Letter, error)
	log     *slog.Logger
}

var _ inventoryapi.StrictServerInterface = (*API)(nil)

// NewAPI makes the API; now and redrive are the worker's outside tests.
func NewAPI(
	pool *pgxpool.Pool, now func() time.Time, redrive func(context.Context, uuid.UUID) (deadletter.Letter, error),
	log *slog.Logger,
) *API {
	return &API{pool: pool, now: now, redrive: redrive, log: log}
}

// Register adds the routes.
func (a *API) Register(e *echo.Echo) {
	inventoryapi.RegisterHandlers(e, inventoryapi.NewStrictHandler(a, nil))
}

const defaultLimit = 50

func limitOf(limit *int) int {
	if limit == nil {
		return defaultLimit
	}
	return *limit
}

// cursorOf reads the parts of a cursor into the pointers; without a cursor they keep what they hold.
func cursorOf(cursor *string, parts ...any) error {
	if cursor == nil {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(*cursor)
	var raw []json.RawMessage
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err == nil && len(raw) != len(parts) {
		err = errors.New("made by another list")
	}
	for i := 0; err == nil && i < len(parts); i++ {
		err = json.Unmarshal(raw[i], parts[i])
	}
	if err != nil {
		return httpserver.NewProblem(httpserver.CodeCursorInvalid,
			"Send next_cursor of the page before as it came, to the same list.", httpserver.WithCause(err))
	}
	return nil
}

// page cuts rows that were read with a limit of one more, and makes the cursor of the next page from the last row kept.
func page[T any](rows []T, limit int, key func(T) []any) ([]T, *string, error) {
	if len(rows) <= limit {
		return rows, nil, nil
	}
	rows = rows[:limit]
	text, err := json.Marshal(key(rows[limit-1]))
	if err != nil {
		return nil, nil, err
	}
	cursor := base64.RawURLEncoding.EncodeToString(text)
	return rows, &cursor, nil
}

// ListReservations lists what orders hold or held.
func (a *API) ListReservations(
	ctx context.Context, r inventoryapi.ListReservationsRequestObject,
) (inventoryapi.ListReservationsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var before *uuid.UUID
	if err := cursorOf(r.Params.Cursor, &before); err != nil {
		return nil, err
	}
	rows, err := listReservations(ctx, a.pool, listReservationsSQL, pgx.StrictNamedArgs{
		"order_id": r.Params.OrderID, "state": r.Params.State, "before": before, "limit": limit + 1,
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(r ReservationRow) []any { return []any{r.ReservationID} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListReservations200JSONResponse{Reservations: each(rows, apiReservation), NextCursor: next}, nil
}

// GetReservation shows one reservation.
func (a *API) GetReservation(
	ctx context.Context, r inventoryapi.GetReservationRequestObject,
) (inventoryapi.GetReservationResponseObject, error) {
	rows, err := listReservations(ctx, a.pool, selectReservationSQL, pgx.StrictNamedArgs{"reservation_id": r.ID})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, httpserver.NewProblem(httpserver.CodeNotFound, "There is no reservation with this id.")
	}
	return inventoryapi.GetReservation200JSONResponse(apiReservation(rows[0])), nil
}

// ListDeadLetters lists records that could not be applied.
func (a *API) ListDeadLetters(
	ctx context.Context, r inventoryapi.ListDeadLettersRequestObject,
) (inventoryapi.ListDeadLettersResponseObject, error) {
	var before uuid.UUID
	if err := cursorOf(r.Params.Cursor, &before); err != nil {
		return nil, err
	}
	letters, next, err := deadletter.List(ctx, a.pool, before, limitOf(r.Params.Limit))
	if err != nil {
		return nil, err
	}
	answer := inventoryapi.ListDeadLetters200JSONResponse{DeadLetters: each(letters, apiDeadLetter)}
	if next != uuid.Nil {
		_, answer.NextCursor, err = page([]uuid.UUID{next, next}, 1, func(id uuid.UUID) []any { return []any{id} })
	}
	return answer, err
}

// RedriveDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/redrive.
func (a *API) RedriveDeadLetter(
	ctx context.Context, request inventoryapi.RedriveDeadLetterRequestObject,
) (inventoryapi.RedriveDeadLetterResponseObject, error) {
	letter, err := a.redrive(ctx, request.DeadLetterID)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return inventoryapi.RedriveDeadLetter200JSONResponse(letter.View()), nil
}

// DismissDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/dismiss.
func (a *API) DismissDeadLetter(
	ctx context.Context, request inventoryapi.DismissDeadLetterRequestObject,
) (inventoryapi.DismissDeadLetterResponseObject, error) {
	letter, err := deadletter.Dismiss(ctx, a.pool, request.DeadLetterID, request.Body.Operator, request.Body.Reason)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return inventoryapi.DismissDeadLetter200JSONResponse(letter.View()), nil
}

// ListTotals shows the sums of the three sides.
func (a *API) ListTotals(
	ctx context.Context, r inventoryapi.ListTotalsRequestObject,
) (inventoryapi.ListTotalsResponseObject, error) {
	limit := limitOf(r.Params.Limit)
	var after SKU
	if err := cursorOf(r.Params.Cursor, &after); err != nil {
		return nil, err
	}
	asOf := instant(a.now())
	rows, err := listTotals(ctx, a.pool, r.Params.Sku, after, limit+1)
	if err != nil {
		return nil, err
	}
	rows, next, err := page(rows, limit, func(r TotalRow) []any { return []any{r.SKU} })
	if err != nil {
		return nil, err
	}
	return inventoryapi.ListTotals200JSONResponse{AsOf: asOf, Totals: each(rows, apiTotal), NextCursor: next}, nil
}
