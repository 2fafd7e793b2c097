package coordinator_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// newService is a coordinator whose doors are shut: the test drives its write path.
func newService(t testing.TB) (*coordinator.Service, *system) {
	t.Helper()
	s := newSystem(t, quiet)
	c, err := coordinator.New(t.Context(), s.config, testLog(t))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, s
}

func accept(ctx context.Context, t testing.TB, c *coordinator.Service, name string, n int) []uuid.UUID {
	t.Helper()
	keys, orders := make([]string, n), make([]*coordinatorapi.NewOrder, n)
	for i := range orders {
		keys[i] = fmt.Sprintf("%s-%d", name, i)
		orders[i] = &coordinatorapi.NewOrder{
			Shop: "s", CustomerID: "c", Reference: keys[i], Currency: "EUR", TotalMinor: 3, PaymentToken: "tok_visa",
			Lines:  []coordinatorapi.OrderLine{{Sku: "SKU-1", Quantity: 1, UnitPriceMinor: 1}, {Sku: "SKU-2", Quantity: 2, UnitPriceMinor: 1}},
			ShipTo: coordinatorapi.Address{Name: "n", Lines: []string{"l"}, City: "c", Country: "DE", Email: new("a@example.com")},
		}
	}
	ids, err := c.Accept(ctx, keys, orders)
	require.NoError(t, err)
	return ids
}

func TestWritePath_statements_do_not_grow_with_the_batch(t *testing.T) {
	t.Parallel()
	c, _ := newService(t)
	done := &sagav1.Reply{
		Step: "reserve_stock", Generation: 1, Operation: sagav1.Operation_OPERATION_DO, EffectSeq: 1,
		Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1}}}},
	}
	refused := &sagav1.Reply{
		Step: "authorize_payment", Generation: 1, Operation: sagav1.Operation_OPERATION_DO, EffectSeq: 1,
		Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "card_declined"}},
	}
	for _, n := range []int{1, 10, 200} {
		var counter pg.Counter
		ctx := pg.WithCounter(t.Context(), &counter)
		ids := accept(ctx, t, c, fmt.Sprint("n", n), n)
		require.Equal(t, 7, counter.Statements(), "%d orders: %v", n, counter.SQL())
		require.Equal(t, 1, counter.RoundTrips())

		counter.Reset()
		commands, err := c.Reply(ctx, ids, done)
		require.NoError(t, err)
		require.Equal(t, n, commands)
		require.Equal(t, 3, counter.Statements(), "%d replies: %v", n, counter.SQL())
		require.Equal(t, 1, counter.RoundTrips())

		counter.Reset()
		commands, err = c.Reply(ctx, ids, refused)
		require.NoError(t, err)
		require.Equal(t, n, commands)
		require.Equal(t, 4, counter.Statements(), "%d replies that turn orders back: %v", n, counter.SQL())

		counter.Reset()
		commands, err = c.Reply(ctx, ids, done)
		require.NoError(t, err)
		require.Zero(t, commands)
		require.LessOrEqual(t, counter.Statements(), 3, "%d repeats: %v", n, counter.SQL())
	}
}

// A coordinator whose reading of the clock is ahead hands a saga over to one that is not: its history does not go back.
func TestWritePath_time_does_not_go_back_between_coordinators(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	other, err := coordinator.New(t.Context(), s.config, testLog(t))
	require.NoError(t, err)
	t.Cleanup(other.Close)
	c.ReadClock(700 * time.Millisecond)
	ids := accept(t.Context(), t, c, "ahead", 3)
	_, err = other.Reply(t.Context(), ids, &sagav1.Reply{
		Step: "reserve_stock", Generation: 1, Operation: sagav1.Operation_OPERATION_DO,
		EffectSeq: 1, Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{}},
	})
	require.NoError(t, err)
	pool := pgtest.Pool(t, s.url)
	for _, id := range ids {
		var back, entries int
		require.NoError(t, pool.QueryRow(t.Context(), `
			SELECT count(*) FILTER (WHERE at < before), count(*)
			FROM (SELECT at, lag(at) OVER (ORDER BY seq) AS before FROM saga_history WHERE saga_id = $1) AS h`,
			id).Scan(&back, &entries))
		require.Equal(t, 2, entries)
		require.Zero(t, back)
	}
}

func TestWritePath_updates_are_hot(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	ids := accept(t.Context(), t, c, "hot", 50)
	for i, step := range []string{"reserve_stock", "authorize_payment", "create_shipment", "capture_payment"} {
		_, err := c.Reply(t.Context(), ids, &sagav1.Reply{
			Step: step, Generation: 1, Operation: sagav1.Operation_OPERATION_DO,
			EffectSeq: uint32(i + 1), Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{}},
		})
		require.NoError(t, err)
	}
	c.Close() // a backend that ends reports what it counted
	pool := pgtest.Pool(t, s.url)
	require.EventuallyWithT(t, func(t *assertT) {
		var updates, hot int
		err := pool.QueryRow(context.Background(),
			"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relid = 'saga'::regclass").Scan(&updates, &hot)
		require.NoError(t, err)
		require.Equal(t, 200, updates)
		// With an index on anything that changes it would be none.
		require.Greater(t, hot, 100, "most updates stay on their page")
	}, waitFor, 100*time.Millisecond)
}

func TestWritePath_a_panic_stops_only_its_own(t *testing.T) {
	t.Parallel()
	c, _ := newService(t)
	ids := accept(t.Context(), t, c, "p", 5)
	errs, err := c.Panic(t.Context(), ids, ids[2])
	require.NoError(t, err)
	for i, err := range errs {
		if i == 2 {
			require.ErrorContains(t, err, "on purpose")
		} else {
			require.NoError(t, err)
		}
	}
}

func TestWritePath_a_row_that_cannot_be_written_stops_only_its_own(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	ids := accept(t.Context(), t, c, "c", 5)
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), fmt.Sprintf("ALTER TABLE saga ADD CHECK (id <> '%s' OR revision < 2)", ids[3]))
	require.NoError(t, err)
	errs, err := c.Panic(t.Context(), ids, uuid.Nil)
	require.NoError(t, err)
	for i, err := range errs {
		if i == 3 {
			require.ErrorContains(t, err, "check constraint")
		} else {
			require.NoError(t, err)
		}
	}
}

func TestRaiseMark(t *testing.T) {
	t.Parallel()
	c, s := newService(t)
	first := accept(t.Context(), t, c, "a", 3)
	pool := pgtest.Pool(t, s.url)
	mark := func() (id uuid.UUID) {
		t.Helper()
		require.NoError(t, c.RaiseMark(t.Context(), time.Now().Add(time.Minute)))
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT id FROM saga_low_water").Scan(&id))
		return id
	}
	require.Equal(t, first[0], mark())
	_, err := pool.Exec(t.Context(), "UPDATE saga SET state = 5, status = 6, ended_at = now() WHERE id = $1", first[0])
	require.NoError(t, err)
	require.Equal(t, first[1], mark())
	_, err = pool.Exec(t.Context(), "UPDATE saga SET state = 5, status = 6, ended_at = now()")
	require.NoError(t, err)
	end := mark()
	require.Greater(t, end.String(), first[2].String())
}

func TestStatements_prepare(t *testing.T) {
	t.Parallel()
	_, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for name, sql := range coordinator.Statements() {
		_, err := conn.Conn().Prepare(t.Context(), name, sql)
		require.NoError(t, err, name)
	}
}

func TestMigration_lists_the_states(t *testing.T) {
	t.Parallel()
	ddl, err := os.ReadFile("../migrations/coordinator/00001_coordinator.sql")
	require.NoError(t, err)
	check := func(column string) (numbers []int) {
		t.Helper()
		match := regexp.MustCompile(`CHECK \(` + column + ` IN \(([0-9, ]+)\)\)`).FindSubmatch(ddl)
		require.NotNil(t, match, column)
		for _, text := range strings.Split(string(match[1]), ", ") {
			n, err := strconv.Atoi(text)
			require.NoError(t, err)
			numbers = append(numbers, n)
		}
		return numbers
	}
	var states, statuses, kinds []int
	for _, s := range saga.States {
		states = append(states, int(s))
	}
	for _, s := range saga.Statuses {
		statuses = append(statuses, int(s))
	}
	for _, k := range saga.AttentionKinds {
		kinds = append(kinds, int(k))
	}
	require.Equal(t, states, check("state"))
	require.Equal(t, statuses, check("status"))
	require.Equal(t, append([]int{int(saga.AttentionNone)}, kinds...), check("attention"))
	require.Equal(t, kinds, check("kind"))
	require.Equal(t, []int{
		0, int(saga.Agreed), int(saga.PendingDecision), int(saga.TooLate), int(saga.AlreadyEnded),
		int(saga.NotPossible),
	}, check("answer"))
	require.Contains(t, string(ddl), deadletter.DDL)
}

func TestMigration_makes_partitions_ahead(t *testing.T) {
	t.Parallel()
	_, s := newService(t)
	pool := pgtest.Pool(t, s.url)
	count := func() (n int) {
		require.NoError(t, pool.QueryRow(t.Context(),
			"SELECT count(*) FROM pg_inherits WHERE inhparent IN ('saga_history'::regclass, 'outbox'::regclass)").Scan(&n))
		return n
	}
	require.Equal(t, 10, count(), "a default partition, this month and three more of each")
	var made int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT make_partitions(5)").Scan(&made))
	require.Equal(t, 4, made)
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT make_partitions(5)").Scan(&made))
	require.Zero(t, made)
	require.Equal(t, 14, count())
}
