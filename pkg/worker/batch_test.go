package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
)

func TestProcess_reply_names_command_and_build(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	do := reserve(skuPlain, 3)
	record := kit.Records(t, do)[0]
	replies, err := kit.Worker.Process(t.Context(), []*kgo.Record{record})
	require.NoError(t, err)
	require.Len(t, replies, 1)
	require.Equal(t, "recourse.participant.replies.v1", replies[0].Topic)
	require.Equal(t, do.GetMeta().GetOrderId(), string(replies[0].Key))
	require.Equal(t, header(record, "ce_id"), header(replies[0], "ce_causationid"))
	require.Equal(t, do.GetMeta().GetSagaId(), header(replies[0], "ce_correlationid"))
	require.Equal(t, "participant/participant", header(replies[0], "ce_source"))

	reply := kit.Do(t, workertest.Again(t, do))
	require.Equal(t, do.GetMeta().GetStep(), reply.GetStep())
	require.Equal(t, do.GetMeta().GetGeneration(), reply.GetGeneration())
	require.Equal(t, "participant/test", reply.GetWorker())
	require.EqualValues(t, 3, reply.GetDone().GetEffects()[0].GetAmount())
}

func TestProcess_retry_stores_no_row(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	do := reserve(skuLater, 1)
	reply := kit.Do(t, do)
	require.Equal(t, "not now", reply.GetRetry().GetReason())
	require.Zero(t, reply.GetEffectSeq())
	require.Equal(t, worker.StateAbsent, kit.State(t, do))
}

func TestProcess_generations_are_different_effects(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	do := reserve(skuPlain, 1)
	require.NotNil(t, kit.Undo(t, release(do)).GetUndone())
	next := proto.CloneOf(do)
	next.GetMeta().Generation++
	require.NotNil(t, kit.Do(t, do).GetFenced())
	require.NotNil(t, kit.Do(t, next).GetDone())
}

func TestProcess_refused_undo_leaves_the_effect(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	do := reserve(skuStuck, 1)
	done := kit.Do(t, do)
	reply := kit.Undo(t, release(do))
	require.Equal(t, "nailed_down", reply.GetRefused().GetCode())
	require.Equal(t, worker.OpUndo, reply.GetOperation())
	require.Equal(t, done.GetEffectSeq(), reply.GetEffectSeq(), "no new fact")
	require.Equal(t, worker.StateDone, kit.State(t, do))
	require.NotNil(t, kit.Do(t, workertest.Again(t, do)).GetDone())
}

// One bad command in a poll costs the others nothing.
func TestProcess_culprit_is_parked_alone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		sku      string
		quantity int64
		reason   deadletter.Reason
		says     string
	}{
		{"panic", skuPanic, 1, deadletter.HandlerPanic, "the shelf fell down"},
		{"missing outcome", skuShort, 1, deadletter.HandlerPanic, "0 outcomes for 1 commands"},
		{"outcome of another operation", skuUnkind, 1, deadletter.HandlerPanic, `"undone" is not allowed while doing`},
		{"no UTF-8", skuGarbled, 1, deadletter.HandlerPanic, `handle "shelf": "\xff": want UTF-8`},
		{"constraint", skuPlain, 0, deadletter.HandlerRefused, "hold_quantity_check"},
		{"swallowed error", skuSwallow, 1, deadletter.HandlerRefused, "25P02"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kit := newShelf(t)
			culprit := reserve(tc.sku, tc.quantity)
			var commands []worker.Input
			for range 9 {
				commands = append(commands, reserve(skuPlain, 1))
			}
			replies := kit.Send(t, slices.Insert(commands, 4, worker.Input(culprit))...)
			require.Len(t, replies, 9, "all others are answered")
			require.Equal(t, 9, holds(t, kit.Pool))
			require.Equal(t, worker.StateAbsent, kit.State(t, culprit))

			letter := mustLetter(t, kit.Pool)
			require.Equal(t, tc.reason, letter.Reason)
			require.Contains(t, letter.Error, tc.says)
			value, err := proto.Marshal(culprit)
			require.NoError(t, err)
			require.Equal(t, value, letter.Value)
		})
	}
}

func TestProcess_unreadable_records_are_parked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		spoil  func(*kgo.Record)
		reason deadletter.Reason
		says   string
	}{
		{"no headers", func(r *kgo.Record) { r.Headers = nil }, deadletter.Undecodable, "ce_"},
		{"broken bytes", func(r *kgo.Record) { r.Value = []byte{0xff, 0xff} }, deadletter.Undecodable, "value"},
		{
			"unknown type", func(r *kgo.Record) { setHeader(r, "ce_type", "recourse.inventory.v9.Levitate") },
			deadletter.UnknownType, "deploy a build that does",
		},
		{
			"type of another participant",
			func(r *kgo.Record) { setHeader(r, "ce_type", "recourse.payment.v1.CapturePayment") },
			deadletter.UnknownType, "participant participant handles no recourse.payment.v1.CapturePayment",
		},
		{"no meta", func(r *kgo.Record) { r.Value = nil }, deadletter.Undecodable, "meta is missing"},
		{
			"no saga", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.SagaId = "7" }),
			deadletter.Undecodable, `meta.saga_id "7" is no UUID`,
		},
		{
			"no order", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.OrderId = "" }),
			deadletter.Undecodable, `meta.order_id "" is no UUID`,
		},
		{
			"no step", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.Step = "" }),
			deadletter.Undecodable, "meta.step has 0 bytes",
		},
		{
			"step with a zero byte", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.Step = "a\x00" }),
			deadletter.Undecodable, "cannot be printed",
		},
		{
			"wrong operation", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.Operation = worker.OpUndo }),
			deadletter.Undecodable, "meta.operation is OPERATION_UNDO",
		},
		{
			"generation too high", withMeta(func(c *inventoryv1.ReserveStock) { c.Meta.Generation = 1 << 31 }),
			deadletter.Undecodable, "meta.generation",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kit := newShelf(t)
			records := kit.Records(t, reserve(skuPlain, 1), reserve(skuPlain, 1), reserve(skuPlain, 1))
			tc.spoil(records[1])
			require.Len(t, kit.SendRecords(t, records...), 2)
			require.Len(t, kit.SendRecords(t, records...), 2, "the same poll again, after a crash")
			letter := mustLetter(t, kit.Pool)
			require.Equal(t, tc.reason, letter.Reason)
			require.Contains(t, letter.Error, tc.says)
			require.Equal(t, records[1].Offset, letter.Offset)
		})
	}
}

// An undo may only take back what its own kind of do has made.
func TestProcess_undo_of_another_kind_is_parked(t *testing.T) {
	t.Parallel()
	g := newGateway()
	pool := mustDB(t, shelfDDL+";\n"+tillDDL)
	kit := workertest.New(t, pool, func(w *worker.Worker) {
		registerShelf(w)
		registerTill(g)(w)
	})
	do := reserve(skuPlain, 1)
	require.NotNil(t, kit.Do(t, do).GetDone())
	foreign := &paymentv1.VoidAuthorization{Meta: workertest.UndoMeta(do.GetMeta())}
	require.Empty(t, kit.Send(t, foreign))
	require.Contains(t, mustLetter(t, pool).Error, "belongs to recourse.inventory.v1.ReserveStock")
	require.Equal(t, 1, holds(t, pool))
}

// Two processes that both believe to own the partition have both found no rows when they run the domain. The slower one
// meets the other's rows: of the domain, where there are any, or of the SDK.
func TestProcess_two_owners_make_one_effect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, sku    string
		attempt      uint32
		races, wrong float64
	}{
		{"done", skuPlain, 2, 1, 0},
		{"refused", skuNone, 2, 1, 0},
		{"done, looks new", skuPlain, 1, 0, 1},
		{"refused, looks new", skuNone, 1, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kit := newShelf(t)
			registry := prometheus.NewRegistry()
			var inDomain sync.WaitGroup
			inDomain.Add(2)
			owner := func(name string) *worker.Worker {
				w, err := worker.New(worker.Config{Participant: name}, kit.Pool, slog.Default(), registry)
				require.NoError(t, err)
				var once sync.Once
				worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, worker.NoUndo]{
					Do: func(
						ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
					) ([]worker.Outcome, error) {
						once.Do(func() {
							inDomain.Done()
							inDomain.Wait()
						})
						return reserveOnShelf(ctx, tx, batch)
					},
				})
				return w
			}
			var commands []worker.Input
			for range 20 {
				command := reserve(tc.sku, 1)
				command.GetMeta().Attempt = tc.attempt
				commands = append(commands, command)
			}
			records := kit.Records(t, commands...)
			var owners sync.WaitGroup
			for _, w := range []*worker.Worker{owner("first"), owner("second")} {
				owners.Go(func() {
					replies, err := w.Process(t.Context(), records)
					if err != nil || len(replies) != len(records) {
						t.Errorf("%d replies, error %v", len(replies), err)
					}
				})
			}
			owners.Wait()
			require.Equal(t, 20, mustCount(t, kit.Pool, `SELECT count(*) FROM step`))
			require.Zero(t, mustCount(t, kit.Pool, `SELECT count(*) FROM dead_letter`))
			require.InDelta(t, tc.races, mustSum(t, registry, "recourse_worker_lost_races_total"), 0, "one of them was slower")
			require.InDelta(t, tc.wrong, mustSum(t, registry, "recourse_worker_wrong_guesses_total"), 0)
		})
	}
}

// A command that comes again as it was looks like a new one. Whatever the handler makes of it has not happened.
func TestProcess_repeat_that_looks_new(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		second func() ([]worker.Outcome, error)
	}{
		{"done again", func() ([]worker.Outcome, error) { return []worker.Outcome{worker.Done(nil, nil)}, nil }},
		{"refused", func() ([]worker.Outcome, error) { return []worker.Outcome{worker.Refused("no", "more")}, nil }},
		{"no row", func() ([]worker.Outcome, error) { return []worker.Outcome{worker.Retry(0, "not now")}, nil }},
		{"error", func() ([]worker.Outcome, error) { return nil, errors.New("it is there already") }},
		{"panic", func() ([]worker.Outcome, error) { panic("it is there already") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			runs, registry := 0, prometheus.NewRegistry()
			handler := worker.Handler[*inventoryv1.ReserveStock, worker.NoUndo]{
				Do: func(
					ctx context.Context, tx pgx.Tx, _ []*worker.Command[*inventoryv1.ReserveStock],
				) ([]worker.Outcome, error) {
					if _, err := tx.Exec(ctx, `INSERT INTO tally DEFAULT VALUES`); err != nil {
						return nil, err
					}
					if runs++; runs > 1 {
						return tc.second()
					}
					return []worker.Outcome{worker.Done(nil, map[string]string{"run": "first"})}, nil
				},
			}
			kit := workertest.New(t, mustDB(t, `CREATE TABLE tally ()`), func(w *worker.Worker) { worker.Handle(w, handler) })
			w, err := worker.New(worker.Config{Participant: "shelf"}, kit.Pool, slog.Default(), registry)
			require.NoError(t, err)
			worker.Handle(w, handler)
			kit.Worker = w

			do := reserve(skuPlain, 1)
			for n := range 3 {
				require.Equal(t, "first", kit.Do(t, do).GetDone().GetHandles()["run"])
				require.InDelta(t, n, mustSum(t, registry, "recourse_worker_wrong_guesses_total"), 0)
			}
			require.Equal(t, 1, mustCount(t, kit.Pool, `SELECT count(*) FROM tally`))
			require.Zero(t, mustCount(t, kit.Pool, `SELECT count(*) FROM dead_letter`))
		})
	}
}

// Of an old command the row may have been pruned, so it is looked at although it says that it is the first.
func TestProcess_old_command_is_no_guess(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	old, late := reserve(skuPlain, 1), reserve(skuPlain, 1)
	old.GetMeta().IssuedAt = timestamppb.New(time.Now().Add(-49 * time.Hour))
	late.GetMeta().Attempt = 2
	for _, command := range []worker.Input{old, late} {
		require.Contains(t, strings.Join(kit.Count(t, command), ";"), "FOR UPDATE OF s")
	}
	require.NotContains(t, strings.Join(kit.Count(t, reserve(skuPlain, 1)), ";"), "FOR UPDATE OF s")
}

// The domain's own keys would catch the second one too. Not every domain has some.
func TestProcess_duplicate_in_one_poll_reaches_the_domain_once(t *testing.T) {
	t.Parallel()
	kit := workertest.New(t, mustDB(t, `CREATE TABLE tally (key text)`), func(w *worker.Worker) {
		worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, worker.NoUndo]{
			Do: func(
				ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
			) (outcomes []worker.Outcome, err error) {
				for _, c := range batch {
					if _, err := tx.Exec(ctx, `INSERT INTO tally (key) VALUES ($1)`, c.Key); err != nil {
						return nil, err
					}
					outcomes = append(outcomes, worker.Done(nil, nil))
				}
				return outcomes, nil
			},
		})
	})
	do := reserve(skuPlain, 1)
	replies := kit.Send(t, do, workertest.Again(t, do), workertest.Again(t, do))
	require.Len(t, replies, 3)
	for _, reply := range replies {
		require.NotNil(t, reply.GetDone())
	}
	require.Equal(t, 1, mustCount(t, kit.Pool, `SELECT count(*) FROM tally`))
}

// A connection that is lost under the handler is no fault of the command that it was working on.
func TestProcess_connection_lost_in_the_domain_parks_nothing(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	records := kit.Records(t, reserve(skuCut, 1))
	_, err := kit.Worker.Process(t.Context(), records)
	require.ErrorContains(t, err, "57P01")
	require.Zero(t, mustCount(t, kit.Pool, `SELECT count(*) FROM dead_letter`))
}

// A database that is not there is nobody's fault.
func TestProcess_database_trouble_parks_nothing(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	records := kit.Records(t, reserve(skuPlain, 1))

	_, err := kit.Pool.Exec(t.Context(), `ALTER TABLE hold RENAME TO gone`)
	require.NoError(t, err)
	_, err = kit.Worker.Process(t.Context(), records)
	require.ErrorContains(t, err, "42P01", "a schema that is not the build's")
	_, err = kit.Pool.Exec(t.Context(), `ALTER TABLE gone RENAME TO hold`)
	require.NoError(t, err)

	ended, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err = kit.Worker.Process(ended, records)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.Len(t, kit.SendRecords(t, records...), 1, "the same records, when all is well again")
	require.Zero(t, mustCount(t, kit.Pool, `SELECT count(*) FROM dead_letter`))
}

func mustSum(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func mustLetter(t *testing.T, pool *pgxpool.Pool) deadletter.Letter {
	t.Helper()
	letters, _, err := deadletter.List(t.Context(), pool, [16]byte{}, 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	return letters[0]
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func setHeader(r *kgo.Record, key, value string) {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			r.Headers[i].Value = []byte(value)
		}
	}
}

func withMeta(change func(*inventoryv1.ReserveStock)) func(*kgo.Record) {
	return func(r *kgo.Record) {
		command := &inventoryv1.ReserveStock{}
		if err := proto.Unmarshal(r.Value, command); err != nil {
			panic(err)
		}
		change(command)
		value, err := proto.Marshal(command)
		if err != nil {
			panic(err)
		}
		r.Value = value
	}
}
