package coordinator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/migrations"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestAdmission_refuses_new_orders_and_nothing_else(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	s.world.answer(mute("authorize_payment/do"))
	open := s.start(t)
	first := open.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "first"})
	require.Equal(t, http.StatusAccepted, first.Status)
	id := open.submit("second", newOrder()).ID
	third := open.submit("third", newOrder()).ID
	open.awaitStatus(id, "processing")

	full := startNode(t, s.config, (*coordinator.Service).AdmitNothing)
	a := full.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "new"})
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Equal(t, "overloaded", a.code(t))
	after, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, after, 1)
	a = full.call("POST", "/v1/orders", "{nobody reads this", headers{"Idempotency-Key": "new"})
	require.Equal(t, http.StatusTooManyRequests, a.Status, "the body is not read")
	require.GreaterOrEqual(t, metric(full, `orders_total{answer="refused"}`), 2.0)

	// A repeat gets its answer, also from a coordinator that did not give the first one.
	for _, key := range []string{"first", `"first"`} {
		again := full.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": key})
		require.Equal(t, http.StatusAccepted, again.Status)
		require.Equal(t, string(first.Body), string(again.Body))
		require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	}
	other := full.call("POST", "/v1/orders", newOrder(map[string]any{"reference": "1002"}), headers{"Idempotency-Key": "first"})
	require.Equal(t, "idempotency_key_reused", other.code(t))
	require.Equal(t, "idempotency_key_missing", full.call("POST", "/v1/orders", newOrder(), nil).code(t))

	// Questions, cancellations and operators' verbs.
	require.Equal(t, http.StatusOK, full.call("GET", "/v1/orders/"+id.String(), nil, nil).Status)
	require.Equal(t, http.StatusOK, full.call("GET", "/v1/orders", nil, nil).Status)
	require.Equal(t, http.StatusAccepted, full.call("POST", "/v1/sagas/"+third.String()+"/actions",
		map[string]any{"type": "pause", "reason": "x"}, nil).Status)
	require.Equal(t, http.StatusAccepted, full.cancel(id, nil).Status)
	full.awaitStatus(id, "cancelled")

	require.Equal(t, http.StatusAccepted,
		open.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "new"}).Status,
		"nothing was kept of the refused one: its key is free")
}

// A participant that answers nothing for long does not close the shop, and the orders that do not need it any more come
// to their ends.
func TestAdmission_a_participant_that_is_down_does_not_close_the_shop(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	s.world.hold("shipping")
	n := s.start(t)
	waiting := n.submit("waiting", newOrder()).ID
	require.Eventually(t, func() bool {
		return metric(n, `queue_state{queue="shipping",state="stalled"}`) == 1
	}, waitFor, tick)
	var ids []uuid.UUID
	for i := range 50 {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	require.Zero(t, metric(n, `orders_total{answer="refused"}`))
	s.world.answer(func(c command) *sagav1.Reply {
		if c.key() == "authorize_payment/do" {
			return refusal("card_declined")
		}
		return nil
	})
	declined := n.submit("declined", newOrder()).ID
	n.awaitStatus(declined, "cancelled")
	require.Equal(t, "processing", string(n.order(waiting).Status))
	s.world.answer(nil)
	s.world.release("shipping")
	for _, id := range ids {
		n.awaitEnd(id)
	}
}

func TestAdmission_the_backlog_of_one_participant_is_bounded(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, func(c *coordinator.Config) { c.MaxBacklog = 5 })
	s.world.hold("shipping")
	n := s.start(t)
	var ids []uuid.UUID
	require.Eventually(t, func() bool {
		a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": fmt.Sprint("k", len(ids))})
		if a.Status == http.StatusAccepted {
			ids = append(ids, uuid.MustParse(a.Header.Get("Location")[len("/v1/orders/"):]))
			return false
		}
		if !strings.Contains(string(a.Body), "shipping") {
			return false // another one was slow for a moment
		}
		after, err := strconv.Atoi(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, after, 60)
		return true
	}, waitFor, 50*time.Millisecond)
	require.GreaterOrEqual(t, len(ids), 5)
	s.world.release("shipping")
	for _, id := range ids {
		n.awaitStatus(id, "completed")
	}
	require.Eventually(t, func() bool {
		return n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "open again"}).Status == http.StatusAccepted
	}, waitFor, tick)
}

// Refusals that come together ask for their keys together.
func TestAdmission_refusals_share_their_question(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	c, err := coordinator.New(t.Context(), s.config, kafkatest.Log(t))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	c.AdmitNothing()
	asked := c.CountQuestions()
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	var (
		wg      sync.WaitGroup
		refused atomic.Int64
	)
	const clients, each = 20, 25
	for i := range clients {
		wg.Go(func() {
			for k := range each {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/orders", strings.NewReader("{}"))
				require.NoError(t, err)
				req.Header.Set("Idempotency-Key", fmt.Sprint(i, "-", k))
				resp, err := server.Client().Do(req)
				if err != nil {
					return
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusTooManyRequests {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, clients*each, refused.Load())
	require.LessOrEqual(t, asked(), int64(clients*each/4), "one statement for many")
}

// Looking for the keys of refusals costs the same however many orders there are.
func TestAdmission_keys_are_looked_up_one_by_one_in_the_index(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pg.Config{
		URL: pgtest.URL(t, migrations.FS("coordinator")), AppName: "test", MaxConns: 1,
	})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), "PREPARE known (text[], text[]) AS "+coordinator.Statements()["known keys"])
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), "EXPLAIN EXECUTE known ('{a}', '{b}')", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "Index Cond: ((scope = wanted.scope) AND (key = wanted.key))")
}

// What a refusal costs the server, without the network: it is decided before the body is read.
func BenchmarkAdmission_refusal(b *testing.B) {
	config := coordinator.Config{}
	handler := coordinator.RefusingHandler(config)
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/v1/orders", strings.NewReader(`{"shop":"x"}`))
		req.Header.Set("Idempotency-Key", "k")
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != http.StatusTooManyRequests {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// Questions have connections of their own: when all of them are taken, orders go on.
func TestDoors_are_not_held_up_by_questions(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient, func(c *coordinator.Config) { c.DatabaseConns = 4 })
	n := s.start(t)
	tx, err := pgtest.Pool(t, s.url).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE dead_letter IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			resp, err := n.http.Get(n.base + "/v1/dead-letters")
			if err == nil {
				resp.Body.Close()
			}
		})
	}
	ids := []uuid.UUID{n.submit("a", newOrder()).ID, n.submit("b", newOrder()).ID}
	require.Eventually(t, func() bool { return metric(n, `sagas_ended_total{state="completed"}`) == 2 }, waitFor, tick)
	require.NoError(t, tx.Rollback(t.Context()))
	wg.Wait()
	for _, id := range ids {
		n.awaitStatus(id, "completed")
	}
}
