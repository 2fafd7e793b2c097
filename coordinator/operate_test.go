package coordinator_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

func (n *node) cancel(id uuid.UUID, h headers) answer {
	n.t.Helper()
	return n.call("POST", "/v1/orders/"+id.String()+"/cancel", map[string]any{"reason": "changed my mind"}, h)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	answerOf := func(a answer) string {
		var c coordinatorapi.CancelAnswer
		a.into(t, &c)
		return string(c.Answer)
	}
	t.Run("agreed", func(t *testing.T) {
		s.world.answer(mute("authorize_payment/do"))
		id := n.submit("agreed", newOrder()).ID
		n.awaitStatus(id, "processing")
		a := n.cancel(id, headers{"Idempotency-Key": "c1"})
		require.Equal(t, http.StatusAccepted, a.Status)
		require.Equal(t, "agreed", answerOf(a))
		o := n.awaitStatus(id, "cancelled")
		require.Equal(t, "cancelled", string(o.Cause.Kind))
		// The order has ended by now, but the same key gets the same answer.
		again := n.cancel(id, headers{"Idempotency-Key": "c1"})
		require.Equal(t, http.StatusAccepted, again.Status)
		require.Equal(t, "agreed", answerOf(again))
		require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
		other := n.call("POST", "/v1/orders/"+id.String()+"/cancel", map[string]any{"reason": "x"}, headers{"Idempotency-Key": "c1"})
		require.Equal(t, "idempotency_key_reused", other.code(t))
		a = n.cancel(id, nil)
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, "already_ended", answerOf(a))
	})
	t.Run("pending", func(t *testing.T) {
		s.world.answer(mute("capture_payment/do"))
		id := n.submit("pending", newOrder()).ID
		require.Eventually(t, func() bool { return len(s.world.received(id, "capture_payment/do")) > 0 }, waitFor, tick)
		a := n.cancel(id, nil)
		require.Equal(t, http.StatusAccepted, a.Status)
		require.Equal(t, "pending_decision", answerOf(a))
		s.world.answer(nil)
		s.world.send(s.world.first(id, "capture_payment/do"), refusal("card_declined"))
		o := n.awaitStatus(id, "cancelled")
		require.Equal(t, "cancelled", string(o.Cause.Kind))
	})
	t.Run("too late", func(t *testing.T) {
		s.world.answer(nil)
		id := n.submit("late", newOrder()).ID
		n.awaitStatus(id, "completed")
		a := n.cancel(id, headers{"Idempotency-Key": "c1"})
		require.Equal(t, http.StatusConflict, a.Status)
		require.Equal(t, "too_late", a.code(t))
		require.Equal(t, "too_late", n.cancel(id, headers{"Idempotency-Key": "c1"}).code(t))
	})
	t.Run("without a body", func(t *testing.T) {
		s.world.answer(mute("reserve_stock/do"))
		id := n.submit("bare", newOrder()).ID
		require.Equal(t, http.StatusAccepted, n.call("POST", "/v1/orders/"+id.String()+"/cancel", nil, nil).Status)
		n.awaitStatus(id, "cancelled")
	})
}

func TestActions(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	act := func(id uuid.UUID, kind, step string) answer {
		body := map[string]any{"type": kind, "reason": "said the test", "operator": "eve"}
		if step != "" {
			body["step"] = step
		}
		return n.call("POST", "/v1/sagas/"+id.String()+"/actions", body, nil)
	}
	accepted := func(t *testing.T, a answer) coordinatorapi.ActionAnswer {
		t.Helper()
		require.Equal(t, http.StatusAccepted, a.Status, string(a.Body))
		var v coordinatorapi.ActionAnswer
		a.into(t, &v)
		return v
	}
	t.Run("pause and resume", func(t *testing.T) {
		s.world.answer(mute("authorize_payment/do"))
		id := n.submit("pause", newOrder()).ID
		require.Eventually(t, func() bool { return len(s.world.received(id, "authorize_payment/do")) == 1 }, waitFor, tick)
		accepted(t, act(id, "pause", ""))
		require.True(t, n.order(id).Paused)
		s.world.send(s.world.first(id, "authorize_payment/do"), success(s.world.first(id, "authorize_payment/do")))
		require.EventuallyWithT(t, func(t *assertT) { require.Len(t, n.order(id).Claims, 2) }, waitFor, tick)
		require.Empty(t, s.world.received(id, "create_shipment/do"))
		s.world.answer(nil)
		accepted(t, act(id, "resume", ""))
		n.awaitStatus(id, "completed")
	})
	t.Run("retry", func(t *testing.T) {
		s.world.answer(mute("reserve_stock/do"))
		id := n.submit("retry", newOrder()).ID
		require.Eventually(t, func() bool { return len(s.world.received(id, "reserve_stock/do")) == 1 }, waitFor, tick)
		require.Equal(t, "validation_failed", act(id, "retry", "").code(t))
		require.Equal(t, "conflict", act(id, "retry", "capture_payment").code(t))
		s.world.answer(nil)
		accepted(t, act(id, "retry", "reserve_stock"))
		n.awaitStatus(id, "completed")
		// Until its confirmation is out, a completed order can still be paused.
		require.EventuallyWithT(t, func(t *assertT) { require.NotNil(t, n.order(id).EndedAt) }, waitFor, tick)
		require.Equal(t, "conflict", act(id, "pause", "").code(t))
		require.Equal(t, "too_late", act(id, "undo", "").code(t))
	})
	t.Run("settle", func(t *testing.T) {
		s.world.answer(mute("commit_stock/do"))
		id := n.submit("settle", newOrder()).ID
		n.awaitStatus(id, "confirmed")
		require.Eventually(t, func() bool { return len(s.world.received(id, "commit_stock/do")) == 1 }, waitFor, tick)
		accepted(t, act(id, "settle", "commit_stock"))
		n.awaitStatus(id, "completed")
	})
	t.Run("undo", func(t *testing.T) {
		s.world.answer(mute("authorize_payment/do"))
		id := n.submit("undo", newOrder()).ID
		n.awaitStatus(id, "processing")
		accepted(t, act(id, "undo", ""))
		require.Equal(t, "operator", string(n.awaitStatus(id, "cancelled").Cause.Kind))
	})
	t.Run("close", func(t *testing.T) {
		s.world.answer(mute("authorize_payment/do"))
		id := n.submit("close", newOrder()).ID
		n.awaitStatus(id, "processing")
		v := accepted(t, act(id, "close", ""))
		require.Len(t, *v.Residue, 2)
		n.awaitStatus(id, "closed")
		var page coordinatorapi.HistoryPage
		n.call("GET", "/v1/sagas/"+id.String()+"/history", nil, nil).into(t, &page)
		last := page.Entries[len(page.Entries)-1].Events[0]
		require.Equal(t, "operator_close", last.Event)
		require.Equal(t, "operator:eve", last.Actor)
		require.Equal(t, "said the test", *last.Detail)
	})
}

func TestReadings(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	var ids []uuid.UUID
	for i := range 5 {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder(map[string]any{
			"customer_id": fmt.Sprint("cus_", i%2), "reference": fmt.Sprint("ref-", i),
			"lines": []any{map[string]any{"sku": fmt.Sprint("SKU-", i%3), "quantity": 2, "unit_price_minor": 1250}},
		})).ID)
	}
	for _, id := range ids {
		n.awaitStatus(id, "completed")
	}
	list := func(query string) (got []uuid.UUID) {
		t.Helper()
		cursor := ""
		for {
			var page coordinatorapi.OrderPage
			n.call("GET", "/v1/orders?"+query+cursor, nil, nil).into(t, &page)
			for _, o := range page.Orders {
				got = append(got, o.ID)
			}
			if page.NextCursor == nil {
				return got
			}
			cursor = "&cursor=" + *page.NextCursor
		}
	}
	newest := []uuid.UUID{ids[4], ids[3], ids[2], ids[1], ids[0]}
	require.Equal(t, newest, list("limit=2"))
	require.Equal(t, newest, list("limit=2&status=completed"))
	require.Empty(t, list("status=cancelled"))
	require.Equal(t, []uuid.UUID{ids[3], ids[1]}, list("customer_id=cus_1&limit=1"))
	require.Equal(t, []uuid.UUID{ids[3], ids[0]}, list("sku=SKU-0"))
	require.Equal(t, []uuid.UUID{ids[2]}, list("reference=ref-2&shop=muglife"))
	require.Empty(t, list("reference=ref-2&shop=other"))
	require.Empty(t, list("attention=any"))
	hour := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	require.Equal(t, newest, list("created_after="+hour(-time.Hour)+"&created_before="+hour(time.Hour)))
	require.Empty(t, list("created_before="+hour(-time.Hour)))
	require.Empty(t, list("created_after="+hour(time.Hour)))
	var page coordinatorapi.OrderPage
	n.call("GET", "/v1/orders?limit=1", nil, nil).into(t, &page)
	require.Equal(t, "cursor_invalid", n.call("GET", "/v1/orders?shop=x&cursor="+*page.NextCursor, nil, nil).code(t))

	var v coordinatorapi.Saga
	require.EventuallyWithT(t, func(t *assertT) {
		a := n.call("GET", "/v1/sagas/"+ids[0].String(), nil, nil)
		require.NoError(t, jsonInto(a.Body, &v))
		require.Equal(t, "completed", string(v.State))
	}, waitFor, tick)
	require.Len(t, v.Steps, steps(t))
	require.Equal(t, ids[0].String()+":reserve_stock:1", *v.Steps[0].EffectKey)

	var history coordinatorapi.HistoryPage
	n.call("GET", "/v1/sagas/"+ids[0].String()+"/history?limit=2", nil, nil).into(t, &history)
	require.Len(t, history.Entries, 2)
	require.Equal(t, "accepted", history.Entries[0].Events[0].Event)
	require.Contains(t, history.Entries[0].Events[0].Decisions, "send reserve_stock do #1")
	require.Contains(t, history.Entries[0].Events[0].Decisions, "announce accepted")
	require.Equal(t, "participant:inventory", history.Entries[1].Events[0].Actor)
	require.NotNil(t, history.NextCursor)
	n.call("GET", "/v1/sagas/"+ids[0].String()+"/history?cursor="+*history.NextCursor, nil, nil).into(t, &history)
	require.Equal(t, int64(3), history.Entries[0].Revision)

	var definitions coordinatorapi.DefinitionList
	n.call("GET", "/v1/definitions", nil, nil).into(t, &definitions)
	current := slices.IndexFunc(definitions.Definitions, func(d coordinatorapi.Definition) bool { return d.Current })
	require.NotEqual(t, -1, current)
	require.Equal(t, v.Definition.Hash, definitions.Definitions[current].Hash)
	require.Contains(t, definitions.Definitions[current].Mermaid, "flowchart")
	require.Contains(t, string(n.call("GET", "/metrics", nil, nil).Body), "recourse_coordinator_orders_total")
}

// event is one server-sent event.
type event struct{ id, name, data string }

// follow reads a stream until it ends, or until enough events came.
func (n *node) follow(id uuid.UUID, last string, enough int) []event {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), waitFor)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", n.base+"/v1/orders/"+id.String()+"/events", nil)
	require.NoError(n.t, err)
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := n.http.Do(request)
	require.NoError(n.t, err)
	defer response.Body.Close()
	require.Equal(n.t, "text/event-stream", response.Header.Get("Content-Type"))
	var (
		events []event
		one    event
	)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "id":
			one.id = text
		case name == "event":
			one.name = text
		case name == "data":
			one.data += text
		case lines.Text() == "" && one.data != "":
			events = append(events, one)
			one = event{}
			if len(events) == enough {
				return events
			}
		}
	}
	return events
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	s.world.answer(mute("create_shipment/do"))
	nodes := []*node{s.start(t), s.start(t)}
	id := nodes[0].submit("k", newOrder()).ID
	first := nodes[0].follow(id, "", 2)
	require.Len(t, first, 2)
	// Both coordinators stream; one of them wrote the rest, the other one hears of it.
	require.Eventually(t, func() bool { return len(s.world.received(id, "create_shipment/do")) > 0 }, waitFor, tick)
	streams := make([]chan []event, len(nodes))
	for i, n := range nodes {
		streams[i] = make(chan []event, 1)
		go func() { streams[i] <- n.follow(id, first[1].id, 0) }()
	}
	s.world.answer(nil)
	c := s.world.first(id, "create_shipment/do")
	s.world.send(c, success(c))
	for i := range streams {
		rest := <-streams[i]
		require.NotEmpty(t, rest)
		end := rest[len(rest)-1]
		require.Equal(t, "end", end.name)
		require.JSONEq(t, `{"order_id":"`+id.String()+`","status":"completed"}`, end.data)
		require.NotEqual(t, first[1].id, rest[0].id)
		require.Len(t, rest, steps(t), "every step but the first, and the end")
	}
	whole := nodes[1].follow(id, "", 0)
	require.Equal(t, first, whole[:2])
	require.Len(t, whole, 2+steps(t))
}

// Who comes back in the middle of a long history gets the rest of it, which is more than is read at a time; who comes back
// after the end is told to stop, or a browser would do so for ever.
func TestEvents_of_an_order_that_has_ended(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	n.follow(id, "", 0) // to the end
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), `
INSERT INTO saga_history (saga_id, at, revision, body)
SELECT saga_id, at, revision, body
FROM saga_history, generate_series(1, 450)
WHERE saga_id = $1 AND revision = 2`, id)
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), "SELECT seq::text FROM saga_history WHERE saga_id = $1 ORDER BY saga_history.seq", id)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(all), 2*200)

	for _, behind := range []int{0, 1, len(all) - 201, len(all) - 200, len(all) - 1} {
		var last string
		if behind > 0 {
			last = all[behind-1]
		}
		got := n.follow(id, last, 0)
		ids := make([]string, len(got))
		for i := range got {
			ids[i] = got[i].id
		}
		require.Equal(t, append(slices.Clone(all[behind:]), ""), ids, "each once, and the end")
		require.Equal(t, "end", got[len(got)-1].name)
	}
	over := n.call("GET", "/v1/orders/"+id.String()+"/events", nil, headers{"Last-Event-ID": all[len(all)-1]})
	require.Equal(t, http.StatusNoContent, over.Status)
	require.Empty(t, over.Body)
}

func TestAttention_is_listed_and_cleared(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.world.answer(mute("commit_stock/do"))
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	require.EventuallyWithT(t, func(t *assertT) {
		var page coordinatorapi.OrderPage
		require.NoError(t, jsonInto(n.call("GET", "/v1/orders?attention=no_answer", nil, nil).Body, &page))
		require.Len(t, page.Orders, 1)
	}, waitFor, tick)
	o := n.order(id)
	require.Equal(t, "commit_stock", o.Attention.Step)
	require.Contains(t, *o.Explanation.Why, "no_answer")
	s.world.answer(nil)
	n.awaitStatus(id, "completed")
	var page coordinatorapi.OrderPage
	n.call("GET", "/v1/orders?attention=any", nil, nil).into(t, &page)
	require.Empty(t, page.Orders)
	require.Equal(t, uint32(1), s.world.first(id, "commit_stock/do").GetGeneration())
	require.Greater(t, len(s.world.received(id, "commit_stock/do")), 4)
}
