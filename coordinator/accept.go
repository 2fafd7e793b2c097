package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

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

// accept stores new orders, all of them in one transaction, each with its key, its saga and its first command. Whoever
// comes second with a key, even at the same instant and at another coordinator, gets the first one's order.
//
// All keys are taken to be free, as nearly all are. If one is not, nothing is stored; the keys are looked up, and what
// remains is tried again.
//
// An order and the saga that fulfils it have the same id. The caller is then able to find one by the other without
// asking, and the key of the Kafka records is that of the row.
func (e *engine) accept(ctx context.Context, list []submission) ([]acceptance, *turn, error) {
	started := time.Now()
	var (
		t     *turn
		fresh []*submission
		taken = make(map[keyName]keyRow)
	)
	err := pg.Retry(ctx, func() error {
		fresh = firstOfEachKey(list, taken)
		t = newTurn(e.now(), idsOf(fresh), maps.Clone(taken))
		subjects := make([]subject, len(fresh))
		for i, s := range fresh {
			t.sagas[i] = &subjects[i]
			if err := e.begin(t, t.sagas[i], s); err != nil {
				return err
			}
			t.keys[s.key.keyName] = keyRow{hash: s.key.hash, order: s.id}
		}
		if err := crash.Fail(crash.CoordinatorBeforeAcceptCommit); err != nil || len(fresh) == 0 {
			return err
		}
		err := e.storeNew(ctx, t, fresh)
		if pg.Code(err) == pg.SerializationFailure {
			err = errors.Join(err, e.lookUp(ctx, fresh, taken))
		}
		return err
	})
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterAcceptCommit)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("accepting %d orders: %w", len(list), err)
	}
	answers := make([]acceptance, len(list))
	for i := range list {
		answers[i] = answerTo(t, &list[i])
	}
	e.metrics.accepted(answers, time.Since(started))
	e.hand.remember(t)
	e.announce(t)
	return answers, t, nil
}

// firstOfEachKey lists the submissions that make an order: those whose key is not taken, and of those with the same key
// the first. They are in the order of the keys, so that two transactions with the same ones wait for each other and do
// not deadlock.
func firstOfEachKey(list []submission, taken map[keyName]keyRow) []*submission {
	fresh := make([]*submission, 0, len(list))
	for i := range list {
		if _, is := taken[list[i].key.keyName]; !is {
			fresh = append(fresh, &list[i])
		}
	}
	slices.SortStableFunc(fresh, func(a, b *submission) int { return cmp.Compare(a.key.key, b.key.key) })
	return slices.CompactFunc(fresh, func(a, b *submission) bool { return a.key.key == b.key.key })
}

// lookUp reads what other requests were answered under the keys.
func (e *engine) lookUp(ctx context.Context, list []*submission, taken map[keyName]keyRow) error {
	names := make([]keyName, len(list))
	for i, s := range list {
		names[i] = s.key.keyName
	}
	var batch pgx.Batch
	queueKeys(&batch, names, taken)
	if err := e.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("looking up %d idempotency keys: %w", len(names), err)
	}
	return nil
}

// idsOf lists the orders' ids, which are those of their sagas.
func idsOf(fresh []*submission) []uuid.UUID {
	ids := make([]uuid.UUID, len(fresh))
	for i, s := range fresh {
		ids[i] = s.id
	}
	return ids
}

// begin makes the saga of a new order.
func (e *engine) begin(t *turn, s *subject, in *submission) error {
	d := e.catalogue.fulfilment
	in.order.PlacedAt = t.at
	*s = subject{
		stored: stored{
			Saga: saga.New(d, in.id, in.id), partition: e.partition.of(in.order.GetOrderId()), document: in.order,
		},
		before: &unborn, d: d,
	}
	ev := saga.Event{Kind: saga.Accepted, Actor: "customer"}
	if in.deadline > 0 {
		ev.At = t.now.Add(in.deadline)
	}
	first := len(t.commands)
	var unasked saga.Verdict
	if err := e.follow(t, s, ev, saga.Decide(d, s.Saga, ev, t.now), &unasked); err != nil {
		return err
	}
	follows(t.commands[first:], in.span)
	return nil
}

// storeNew writes the new orders, in one round trip, which is one transaction.
func (e *engine) storeNew(ctx context.Context, t *turn, fresh []*submission) error {
	var batch pgx.Batch
	e.queueClock(&batch)
	queueClaims(&batch, fresh)
	if err := t.queueNew(&batch); err != nil {
		return err
	}
	queueDocuments(&batch, t, fresh)
	t.queueHistory(&batch)
	if err := t.queueOutbox(&batch); err != nil {
		return err
	}
	return e.send(ctx, &batch, fmt.Sprintf("storing %d orders", len(fresh)))
}

// queueClaims takes the keys of the new orders.
func queueClaims(batch *pgx.Batch, fresh []*submission) {
	n := len(fresh)
	scopes, keys, hashes, ids := make([]string, n), make([]string, n), make([][]byte, n), make([]uuid.UUID, n)
	for i, s := range fresh {
		scopes[i], keys[i], hashes[i], ids[i] = s.key.scope, s.key.key, s.key.hash, s.id
	}
	batch.Queue(claimKeysSQL, scopes, keys, hashes, ids, n)
}

func (t *turn) queueNew(batch *pgx.Batch) error {
	n := len(t.sagas)
	var (
		definitions, revisions       = make([]int64, 0, n), make([]int64, 0, n)
		partitions, states, statuses = make([]int16, 0, n), make([]int16, 0, n), make([]int16, 0, n)
		due                          = make([]*time.Time, 0, n)
		records                      = make([][]byte, 0, n)
		times                        = make(instants, 0, n)
		text                         = make(texts, 0, n*recordSize)
	)
	for _, s := range t.sagas {
		record, err := text.record(&s.Saga)
		if err != nil {
			return err
		}
		s.status = saga.StatusOf(s.d, &s.Saga)
		definitions = append(definitions, int64(s.Definition))
		partitions = append(partitions, s.partition)
		states, statuses = append(states, int16(s.State)), append(statuses, int16(s.status))
		revisions = append(revisions, s.Revision)
		due = append(due, times.orNull(s.NextDue()))
		records = append(records, record)
	}
	batch.Queue(insertSagasSQL, t.order, t.order, definitions, partitions, states, statuses, revisions, due, records, t.now)
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

// mustMarshal encodes an order, whose text was validated; nothing else could fail.
func mustMarshal(o *orderv1.Order) []byte {
	body, err := o.MarshalVT()
	if err != nil {
		panic(fmt.Sprintf("encoding order %s: %v", o.GetOrderId(), err))
	}
	return body
}

// answerTo finds the order of a request: its own, or the one that its key belongs to.
func answerTo(t *turn, s *submission) acceptance {
	k := t.keys[s.key.keyName]
	if string(k.hash) != string(s.key.hash) {
		return acceptance{err: errKeyReused}
	}
	return acceptance{id: k.order, replayed: k.order != s.id}
}
