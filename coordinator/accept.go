package coordinator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// scopeOrders is the scope of the keys of new orders.
const scopeOrders = "orders"

// submission is a valid order on its way in.
type submission struct {
	key      requestKey
	order    *orderv1.Order
	id       uuid.UUID
	deadline time.Duration
	span     trace.SpanContext
}

// acceptance is what became of a submission.
type acceptance struct {
	// err is nil, errKeyReused, or what made this one impossible to store.
	err error
	// id is that of the order: a new one, or the one that the key belongs to.
	id       uuid.UUID
	replayed bool
}

// accept stores new orders, all of them in one transaction, each with its saga and its first command. The key of the
// request is claimed first: whoever comes second with it, even at the same instant and at another coordinator, gets
// the first one's order.
//
// An order and the saga that fulfils it have the same id. The caller is then able to find one by the other without
// asking, and the key of the Kafka records is that of the row.
func (e *engine) accept(ctx context.Context, list []submission) ([]acceptance, *turn, error) {
	started := time.Now()
	// In one order everywhere, so that two transactions with the same keys wait for each other and do not deadlock.
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(list[a].key.key, list[b].key.key) })
	var (
		answers []acceptance
		t       *turn
	)
	err := pg.InTx(ctx, e.pool, func(tx pgx.Tx) error {
		answers = make([]acceptance, len(list))
		t = &turn{sagas: make(map[uuid.UUID]*subject, len(list)), keys: make(map[keyName]keyRow)}
		claimed, err := e.claim(ctx, tx, t, list, order)
		if err != nil {
			return err
		}
		if err := crash.Fail(crash.CoordinatorAfterClaim); err != nil {
			return err
		}
		var fresh []*submission
		for _, i := range order {
			s := &list[i]
			if claimed[s.key.key] != s.id {
				continue
			}
			if err := e.begin(t, s); err != nil {
				return err
			}
			fresh = append(fresh, s)
			answers[i] = acceptance{id: s.id}
		}
		if err := e.storeNew(ctx, tx, t, fresh, list, claimed); err != nil {
			return err
		}
		for i := range list {
			if answers[i].id == uuid.Nil {
				answers[i] = repeated(t, &list[i])
			}
		}
		return crash.Fail(crash.CoordinatorBeforeAcceptCommit)
	})
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterAcceptCommit)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("accepting %d orders: %w", len(list), err)
	}
	e.metrics.accepted(answers, time.Since(started))
	for id, s := range t.sagas {
		e.documents.put(id, s.document)
	}
	e.announce(t)
	return answers, t, nil
}

// claim takes the keys that are free. It returns, for each key that this transaction got, the order that has it.
func (e *engine) claim(
	ctx context.Context, tx pgx.Tx, t *turn, list []submission, order []int,
) (map[string]uuid.UUID, error) {
	var (
		scopes, keys []string
		hashes       [][]byte
		ids          []uuid.UUID
	)
	claimed := make(map[string]uuid.UUID, len(list))
	for _, i := range order {
		s := &list[i]
		if _, twice := claimed[s.key.key]; twice {
			continue // the first one in this batch makes the order
		}
		claimed[s.key.key] = s.id
		scopes, keys = append(scopes, s.key.scope), append(keys, s.key.key)
		hashes, ids = append(hashes, s.key.hash), append(ids, s.id)
	}
	got := make(map[string]bool, len(keys))
	var batch pgx.Batch
	batch.Queue(claimKeysSQL, scopes, keys, hashes, ids).Query(func(rows pgx.Rows) error {
		var key string
		_, err := pgx.ForEachRow(rows, []any{&key}, func() error {
			got[key] = true
			return nil
		})
		return err
	})
	batch.Queue(nowSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&t.now) })
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("claiming %d idempotency keys: %w", len(keys), err)
	}
	t.now = t.now.UTC()
	e.clock.Set(t.now, time.Now())
	for key := range claimed {
		if !got[key] {
			delete(claimed, key)
		}
	}
	return claimed, nil
}

// begin makes the saga of a new order.
func (e *engine) begin(t *turn, in *submission) error {
	d := e.catalogue.fulfilment
	in.order.PlacedAt = timestamppb.New(t.now)
	s := &subject{
		stored: stored{Saga: saga.New(d, in.id, in.id), partition: e.partition.of(in.id.String())},
		d:      d, document: in.order,
	}
	ev := saga.Event{Kind: saga.Accepted, Actor: "customer"}
	if in.deadline > 0 {
		ev.At = t.now.Add(in.deadline)
	}
	var out sideEffects
	if err := e.follow(s, ev, saga.Decide(d, s.Saga, ev, t.now), t.now, &out); err != nil {
		return err
	}
	t.sagas[in.id] = s
	t.order = append(t.order, in.id)
	t.send(out, in.span)
	return nil
}

// storeNew writes the new orders and reads what other requests were answered under the keys that were taken.
func (e *engine) storeNew(
	ctx context.Context, tx pgx.Tx, t *turn, fresh []*submission, list []submission, claimed map[string]uuid.UUID,
) error {
	var (
		batch pgx.Batch
		taken []keyName
	)
	for i := range list {
		if _, mine := claimed[list[i].key.key]; !mine {
			taken = append(taken, list[i].key.keyName)
		}
	}
	for _, s := range fresh {
		t.keys[s.key.keyName] = keyRow{hash: s.key.hash, order: s.id}
	}
	if len(taken) > 0 {
		queueKeys(&batch, taken, t.keys)
	}
	if len(fresh) > 0 {
		if err := t.queueNew(&batch); err != nil {
			return err
		}
		queueDocuments(&batch, t, fresh)
		if err := t.queueHistory(&batch); err != nil {
			return err
		}
		if err := t.queueOutbox(&batch); err != nil {
			return err
		}
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("storing %d orders: %w", len(fresh), err)
	}
	return nil
}

func (t *turn) queueNew(batch *pgx.Batch) error {
	var (
		ids                          []uuid.UUID
		definitions, revisions       []int64
		partitions, states, statuses []int16
		due                          []*time.Time
		records                      [][]byte
		created                      []time.Time
	)
	for _, id := range t.order {
		s := t.sagas[id]
		record, err := saga.MarshalRecord(nil, &s.Saga)
		if err != nil {
			return fmt.Errorf("encoding saga %s: %w", id, err)
		}
		s.status = saga.StatusOf(s.d, &s.Saga)
		ids = append(ids, id)
		definitions = append(definitions, int64(s.Definition))
		partitions = append(partitions, s.partition)
		states, statuses = append(states, int16(s.State)), append(statuses, int16(s.status))
		revisions = append(revisions, s.Revision)
		due = append(due, timeOrNull(s.NextDue()))
		records = append(records, record)
		created = append(created, s.CreatedAt)
	}
	batch.Queue(insertSagasSQL, ids, ids, definitions, partitions, states, statuses, revisions, due, records, created)
	return nil
}

func queueDocuments(batch *pgx.Batch, t *turn, fresh []*submission) {
	var (
		ids, skuOrders                                    []uuid.UUID
		shops, customers, references, currencies, skuList []string
		totals                                            []int64
		bodies                                            [][]byte
	)
	for _, s := range fresh {
		o := s.order
		ids = append(ids, s.id)
		shops, customers = append(shops, o.GetShop()), append(customers, o.GetCustomerId())
		references, currencies = append(references, o.GetReference()), append(currencies, o.GetCurrency())
		totals = append(totals, o.GetTotalMinor())
		bodies = append(bodies, mustMarshal(o))
		seen := make(map[string]bool, len(o.GetLines()))
		for _, l := range o.GetLines() {
			if !seen[l.GetSku()] {
				seen[l.GetSku()] = true
				skuList, skuOrders = append(skuList, l.GetSku()), append(skuOrders, s.id)
			}
		}
	}
	batch.Queue(insertDocumentsSQL, ids, ids, shops, customers, references, currencies, totals, bodies, t.now)
	batch.Queue(insertSKUsSQL, skuList, skuOrders)
}

// mustMarshal encodes an order; one that was validated is valid UTF-8, which is all that could fail.
func mustMarshal(o *orderv1.Order) []byte {
	body, err := proto.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("encoding order %s: %v", o.GetOrderId(), err))
	}
	return body
}

// repeated answers a request whose key belongs to another one.
func repeated(t *turn, s *submission) acceptance {
	k, ok := t.keys[s.key.keyName]
	if !ok || string(k.hash) != string(s.key.hash) {
		return acceptance{err: errKeyReused}
	}
	return acceptance{id: k.order, replayed: true}
}
