package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/pg"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// reader answers questions. It never locks anything.
type reader struct {
	pool      *pgxpool.Pool
	catalogue *catalogue
}

var errNotFound = errors.New("not found")

const orderSQL = `
SELECT` + sagaColumns + `,
    d.body
FROM order_document AS d
JOIN saga AS s ON s.id = d.saga_id
WHERE d.order_id = $1`

// order reads an order with its saga.
func (r *reader) order(ctx context.Context, id uuid.UUID) (*stored, *orderv1.Order, error) {
	rows, err := r.pool.Query(ctx, orderSQL, id)
	if err != nil {
		return nil, nil, fmt.Errorf("reading order %s: %w", id, err)
	}
	var o orderv1.Order
	s, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (*stored, error) {
		var (
			s    stored
			body []byte
		)
		if err := scanSagaInto(row, &s, &body); err != nil {
			return nil, err
		}
		return &s, proto.Unmarshal(body, &o)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, errNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading order %s: %w", id, err)
	}
	return s, &o, nil
}

const sagaSQL = `
SELECT` + sagaColumns + `
FROM saga AS s
WHERE s.id = $1`

func (r *reader) saga(ctx context.Context, id uuid.UUID) (*stored, error) {
	rows, err := r.pool.Query(ctx, sagaSQL, id)
	if err != nil {
		return nil, fmt.Errorf("reading saga %s: %w", id, err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanSaga)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading saga %s: %w", id, err)
	}
	return s, nil
}

// entry is one row of a saga's history.
type entry struct {
	seq      int64
	revision int64
	at       time.Time
	events   []*sagav1.HistoryEvent
}

const historySQL = `
SELECT
    seq,
    revision,
    at,
    body
FROM saga_history
WHERE saga_id = $1 AND seq > $2 AND at > $3::timestamptz - interval '1 hour'
ORDER BY seq
LIMIT $4`

// history reads what a saga met after an entry, oldest first. Partitions of months before the saga's creation are not
// looked at. The hour is more than two coordinators can differ in what they take for the database's time.
func (r *reader) history(ctx context.Context, s *stored, after int64, limit int) ([]entry, error) {
	names, err := r.names(ctx, s.Definition)
	if err != nil {
		return nil, fmt.Errorf("reading the history of saga %s: %w", s.ID, err)
	}
	rows, err := r.pool.Query(ctx, historySQL, s.ID, after, s.CreatedAt, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the history of saga %s: %w", s.ID, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (entry, error) {
		var (
			e    entry
			body []byte
		)
		if err := row.Scan(&e.seq, &e.revision, &e.at, &body); err != nil {
			return e, err
		}
		var err error
		e.events, err = saga.ReadHistory(body, e.at, names)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history of saga %s: %w", s.ID, err)
	}
	return list, nil
}

const namesSQL = `
SELECT
    steps,
    participants
FROM definition
WHERE hash = $1`

// names are what a history calls the steps of a definition; the database knows those that this build does not.
func (r *reader) names(ctx context.Context, hash saga.Hash) ([]saga.StepName, error) {
	if d := r.catalogue.byHash[hash]; d != nil {
		return saga.StepNames(d), nil
	}
	var steps, participants []string
	err := r.pool.QueryRow(ctx, namesSQL, int64(hash)).Scan(&steps, &participants)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("reading the steps of definition %s: %w", hash, err)
	}
	names := make([]saga.StepName, min(len(steps), len(participants)))
	for i := range names {
		names[i] = saga.StepName{Step: steps[i], Participant: participants[i]}
	}
	return names, nil
}

// filter narrows a list of orders. Zero values do not.
type filter struct {
	Status     saga.Status
	Attention  string
	CustomerID string
	SKU        string
	Reference  string
	Shop       string
	After      time.Time
	Before     time.Time
}

// summary is one order of a list.
type summary struct {
	orderID, sagaID             uuid.UUID
	shop, customerID, reference string
	currency                    string
	totalMinor                  int64
	createdAt                   time.Time
	status                      saga.Status
	attention                   saga.AttentionKind
	paused                      bool
	endedAt                     *time.Time
}

const (
	listHeadSQL = `
SELECT
    d.order_id,
    d.saga_id,
    d.shop,
    d.customer_id,
    d.reference,
    d.currency,
    d.total_minor,
    d.created_at,
    s.status,
    s.attention,
    s.paused,
    s.ended_at
FROM order_document AS d
JOIN saga AS s ON s.id = d.saga_id`
	listSKUSQL = "\nJOIN order_sku AS k ON k.order_id = d.order_id AND k.sku = @sku"
	// From the few sagas to their orders by key; without the order's id the way would lead through all orders.
	listAttentionSQL = "\nJOIN saga_attention AS a ON a.saga_id = d.saga_id AND s.order_id = d.order_id"
	listWhereSQL     = "\nWHERE d.order_id < @cursor AND d.order_id >= @oldest"
)

// idSlack is how far apart the clocks of an id and of its row's time may be.
const idSlack = time.Hour

// lastID is above every UUIDv7.
var lastID = uuid.UUID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// listSQL joins the conditions that are asked for, so that the planner sees no others.
func listSQL(f filter, cursor uuid.UUID, limit int) (string, pgx.StrictNamedArgs) {
	args := pgx.StrictNamedArgs{"cursor": cursor, "oldest": uuid.Nil, "limit": limit}
	joins, where, id := "", listWhereSQL, "d.order_id"
	if f.SKU != "" {
		// The place in the list is one in the SKU's orders too; the planner does not infer that from the join.
		joins, id = listSKUSQL, "k.order_id"
		where += " AND k.order_id < @cursor AND k.order_id >= @oldest"
		args["sku"] = f.SKU
	}
	and := func(condition, name string, value any) {
		where += " AND " + condition
		args[name] = value
	}
	if alwaysOpen(f.Status) {
		where += " AND " + id + " >= (SELECT id FROM saga_low_water)"
	}
	if f.Attention != "" {
		joins += listAttentionSQL
		for _, kind := range saga.AttentionKinds {
			if kind.String() == f.Attention {
				and("a.kind = @kind", "kind", int16(kind))
			}
		}
	}
	if f.CustomerID != "" {
		and("d.customer_id = @customer", "customer", f.CustomerID)
	}
	if f.Reference != "" {
		and("d.reference = @reference", "reference", f.Reference)
	}
	if f.Shop != "" {
		and("d.shop = @shop", "shop", f.Shop)
	}
	if !f.After.IsZero() {
		args["oldest"] = firstIDOf(f.After.Add(-idSlack))
		and("d.created_at >= @after", "after", f.After)
	}
	if !f.Before.IsZero() {
		and("d.created_at < @before", "before", f.Before)
	}
	return listHeadSQL + joins + where + "\nORDER BY " + id + " DESC\nLIMIT @limit", args
}

// alwaysOpen says that no saga with the status has ended, so that there is none below the mark. One with a step that an
// operator settled ends confirmed.
func alwaysOpen(s saga.Status) bool {
	return s == saga.StatusAccepted || s == saga.StatusProcessing || s == saga.StatusCancelling
}

const (
	// scanChunk and maxChunks bound what one page of a list by status reads: the status is on the hot row and has no
	// index, so orders are read from the newest on and counted out here.
	scanChunk = 1000
	maxChunks = 5
)

// list returns a page, newest first, and the cursor of the next one; uuid.Nil is the end. A page may be short and have
// a next one.
func (r *reader) list(ctx context.Context, f filter, cursor uuid.UUID, limit int) ([]summary, uuid.UUID, error) {
	if cursor == uuid.Nil {
		cursor = lastID
		if !f.Before.IsZero() {
			cursor = firstIDOf(f.Before.Add(idSlack))
		}
	}
	chunk := limit + 1
	if f.Status != 0 {
		chunk = max(scanChunk, limit+1)
	}
	var page []summary
	for range maxChunks {
		sql, args := listSQL(f, cursor, chunk)
		found, err := pg.Collect(ctx, r.pool, scanSummary, sql, args)
		if err != nil {
			return nil, uuid.Nil, fmt.Errorf("listing orders: %w", err)
		}
		for i := range found {
			if f.Status != 0 && found[i].status != f.Status {
				continue
			}
			if len(page) == limit {
				return page, page[limit-1].orderID, nil
			}
			page = append(page, found[i])
		}
		if len(found) < chunk {
			return page, uuid.Nil, nil
		}
		cursor = found[len(found)-1].orderID
	}
	return page, cursor, nil
}

func scanSummary(row pgx.CollectableRow) (summary, error) {
	var s summary
	err := row.Scan(&s.orderID, &s.sagaID, &s.shop, &s.customerID, &s.reference, &s.currency, &s.totalMinor, &s.createdAt,
		&s.status, &s.attention, &s.paused, &s.endedAt)
	return s, err
}

// fingerprint ties a cursor to the filters that it was made with.
func (f filter) fingerprint() string {
	return strings.Join([]string{
		f.Status.String(), f.Attention, f.CustomerID, f.SKU, f.Reference, f.Shop,
		f.After.UTC().Format(time.RFC3339Nano), f.Before.UTC().Format(time.RFC3339Nano),
	}, "\x00")
}
