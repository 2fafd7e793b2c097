package shipping

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/webhook/inbox"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
)

// routes answers the API. Requests that reach it follow the API's description.
type routes struct {
	pool *pgxpool.Pool
	// redrive is the worker's.
	redrive func(context.Context, uuid.UUID) (deadletter.Letter, error)
	inbox   *inbox.Inbox
}

const defaultLimit = 50

// ListShipments answers GET /v1/shipments.
func (r *routes) ListShipments(
	ctx context.Context, request shippingapi.ListShipmentsRequestObject,
) (shippingapi.ListShipmentsResponseObject, error) {
	limit, cursor, err := page(request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	// One more than asked for tells whether there is a next page.
	rows, err := listShipments(ctx, r.pool, filter{
		OrderID: request.Params.OrderID, State: (*string)(request.Params.State), Before: cursor, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	answer := shippingapi.ListShipments200JSONResponse{Shipments: make([]shippingapi.ShipmentSummary, 0, len(rows))}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.NextCursor = writeCursor(rows[limit-1].ShipmentID)
	}
	for i := range rows {
		s := &rows[i]
		answer.Shipments = append(answer.Shipments, shippingapi.ShipmentSummary{
			ShipmentID: s.ShipmentID, OrderID: s.OrderID, Reference: s.Reference,
			State: shippingapi.ShipmentState(s.State), Country: s.Country, Carrier: s.Carrier,
			TrackingNumber: s.TrackingNumber, RefusalCode: s.RefusalCode, RefusalDetail: optional(s.RefusalDetail),
			CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
		})
	}
	return answer, nil
}

// GetShipment answers GET /v1/shipments/{shipment_id}.
func (r *routes) GetShipment(
	ctx context.Context, request shippingapi.GetShipmentRequestObject,
) (shippingapi.GetShipmentResponseObject, error) {
	var found record
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) (err error) {
			found, err = getShipment(ctx, tx, request.ShipmentID)
			return err
		})
	if errors.Is(err, errNotFound) {
		return nil, httpserver.NewProblem(httpserver.CodeNotFound,
			fmt.Sprintf("There is no shipment %s; GET /v1/shipments lists them.", request.ShipmentID))
	}
	if err != nil {
		return nil, err
	}
	return shippingapi.GetShipment200JSONResponse(found.api()), nil
}

// api is the record as the API shows it.
func (r *record) api() shippingapi.Shipment {
	s := shippingapi.Shipment{
		ShipmentID: r.ShipmentID, OrderID: r.OrderID, SagaID: r.SagaID, Reference: r.Reference,
		State: shippingapi.ShipmentState(r.State), Carrier: r.Carrier,
		RefusalCode: r.RefusalCode, RefusalDetail: optional(r.RefusalDetail),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		ShipTo: shippingapi.Address{
			Name: r.Name, Lines: strings.Split(r.Street, "\n"), City: r.City, Region: optional(r.Region),
			PostalCode: r.PostalCode, Country: r.Country,
		},
		Items:      make([]shippingapi.ShipmentItem, 0, len(r.Items)),
		Packages:   []shippingapi.Package{},
		Operations: make([]shippingapi.Operation, 0, len(r.Operations)),
	}
	for _, i := range r.Items {
		s.Items = append(s.Items, shippingapi.ShipmentItem{LineID: i.LineID, Sku: i.SKU, Quantity: i.Quantity})
	}
	for _, l := range r.Labels {
		// Rows come by package.
		if n := len(s.Packages); n == 0 || s.Packages[n-1].PackageID != l.PackageID {
			s.Packages = append(s.Packages, shippingapi.Package{PackageID: l.PackageID, Seq: l.Seq, WeightG: l.WeightG})
		}
		p := &s.Packages[len(s.Packages)-1]
		p.Labels = append(p.Labels, shippingapi.Label{
			LabelID: l.LabelID, State: shippingapi.LabelState(l.State), CarrierRef: l.CarrierRef,
			TrackingNumber: l.TrackingNumber, CostMinor: l.CostMinor, Currency: l.Currency,
		})
		if l.TrackingNumber != nil {
			s.TrackingNumber = l.TrackingNumber
		}
	}
	for _, o := range r.Operations {
		operation := shippingapi.Operation{
			OperationID: o.OperationID, Kind: shippingapi.OperationKind(o.Kind),
			State: shippingapi.OperationState(o.State), FailureClass: o.FailureClass, FailureCode: o.FailureCode,
			RequestedAt: o.RequestedAt.UTC(), UnknownSince: o.UnknownSince, DecidedAt: o.DecidedAt,
			Attempts: []shippingapi.Attempt{},
		}
		for _, a := range r.Attempts {
			if a.OperationID == o.OperationID {
				operation.Attempts = append(operation.Attempts, shippingapi.Attempt{
					AttemptNo: a.AttemptNo, SentAt: a.SentAt.UTC(), EndedAt: a.EndedAt,
					Outcome: (*shippingapi.AttemptOutcome)(a.Outcome), Detail: optional(a.Detail),
				})
			}
		}
		s.Operations = append(s.Operations, operation)
	}
	return s
}

// GetTotals answers GET /v1/totals.
func (r *routes) GetTotals(
	ctx context.Context, _ shippingapi.GetTotalsRequestObject,
) (shippingapi.GetTotalsResponseObject, error) {
	t, err := countLabels(ctx, r.pool)
	if err != nil {
		return nil, err
	}
	return shippingapi.GetTotals200JSONResponse{
		LabelsBought: t.Bought, LabelsVoided: t.Voided, LabelsLive: t.Bought - t.Voided, LabelsInDoubt: t.InDoubt,
	}, nil
}

// ListDeadLetters answers GET /v1/dead-letters.
func (r *routes) ListDeadLetters(
	ctx context.Context, request shippingapi.ListDeadLettersRequestObject,
) (shippingapi.ListDeadLettersResponseObject, error) {
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
	answer := shippingapi.ListDeadLetters200JSONResponse{DeadLetters: make([]shippingapi.DeadLetter, 0, len(letters))}
	if next != uuid.Nil {
		answer.NextCursor = writeCursor(next)
	}
	for i := range letters {
		answer.DeadLetters = append(answer.DeadLetters, shippingapi.DeadLetter(letters[i].View()))
	}
	return answer, nil
}

// RedriveDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/redrive.
func (r *routes) RedriveDeadLetter(
	ctx context.Context, request shippingapi.RedriveDeadLetterRequestObject,
) (shippingapi.RedriveDeadLetterResponseObject, error) {
	letter, err := r.redrive(ctx, request.DeadLetterID)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return shippingapi.RedriveDeadLetter200JSONResponse(letter.View()), nil
}

// DismissDeadLetter answers POST /v1/dead-letters/{dead_letter_id}/dismiss.
func (r *routes) DismissDeadLetter(
	ctx context.Context, request shippingapi.DismissDeadLetterRequestObject,
) (shippingapi.DismissDeadLetterResponseObject, error) {
	letter, err := deadletter.Dismiss(ctx, r.pool, request.DeadLetterID, request.Body.Operator, request.Body.Reason)
	if err != nil {
		return nil, deadletter.Problem(err)
	}
	return shippingapi.DismissDeadLetter200JSONResponse(letter.View()), nil
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

var _ shippingapi.StrictServerInterface = (*routes)(nil)
