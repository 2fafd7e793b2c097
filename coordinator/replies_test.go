package coordinator_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/message"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestReplies_are_parked_and_redriven(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	s.world.answer(mute("authorize_payment/do"))
	id := n.submit("k", newOrder()).ID
	authorize := s.world.first(id, "authorize_payment/do")
	topics := s.config.Kafka.Topics()

	stray := authorize
	stray.CommandMeta = &sagav1.CommandMeta{
		SagaId: uuid.NewString(), OrderId: uuid.NewString(), Step: "authorize_payment",
		Generation: 1, Operation: sagav1.Operation_OPERATION_DO,
	}
	forged := s.world.record(authorize, success(authorize))
	forged.Topic = topics.ReplyTopic("shipping")
	event, err := message.Encode(topics.ReplyTopic("payment"), id.String(), message.Event{
		Source: "x", Data: &orderv1.OrderConfirmed{OrderId: id.String()},
	})
	require.NoError(t, err)
	newer := s.world.record(authorize, success(authorize))
	for i := range newer.Headers {
		if newer.Headers[i].Key == message.HeaderType {
			newer.Headers[i].Value = []byte("recourse.saga.v2.Reply")
		}
	}
	step := authorize
	step.CommandMeta = &sagav1.CommandMeta{
		SagaId: id.String(), OrderId: id.String(), Step: "paint_it",
		Generation: 1, Operation: sagav1.Operation_OPERATION_DO,
	}
	require.NoError(t, kafka.Produce(t.Context(), s.world.producer, []*kgo.Record{
		{Topic: topics.ReplyTopic("payment"), Key: []byte("k"), Value: []byte("not a message")},
		s.world.record(stray, success(authorize)), forged, event, newer, s.world.record(step, success(authorize)),
	}))
	// What is sound goes on behind what is not.
	s.world.answer(nil)
	s.world.send(authorize, success(authorize))
	n.awaitStatus(id, "completed")

	var page coordinatorapi.DeadLetterPage
	require.EventuallyWithT(t, func(t *assertT) {
		require.NoError(t, jsonInto(n.call("GET", "/v1/dead-letters", nil, nil).Body, &page))
		require.Len(t, page.DeadLetters, 6)
	}, waitFor, tick)
	reasons := map[string]int{}
	for _, l := range page.DeadLetters {
		reasons[string(l.Reason)]++
		require.NotEmpty(t, l.Error)
	}
	require.Equal(t, map[string]int{
		"undecodable": 1, "unknown_saga": 1, "wrong_topic": 2, "unknown_type": 1, "handler_refused": 1,
	}, reasons)

	var small coordinatorapi.DeadLetterPage
	n.call("GET", "/v1/dead-letters?limit=4", nil, nil).into(t, &small)
	require.Len(t, small.DeadLetters, 4)
	n.call("GET", "/v1/dead-letters?limit=4&cursor="+*small.NextCursor, nil, nil).into(t, &small)
	require.Len(t, small.DeadLetters, 2)

	redrive := func() answer {
		return n.call("POST", "/v1/dead-letters/"+page.DeadLetters[0].ID.String()+"/redrive", nil, nil)
	}
	require.Equal(t, http.StatusOK, redrive().Status)
	require.Equal(t, "already_redriven", redrive().code(t))
	require.EventuallyWithT(t, func(t *assertT) {
		var again coordinatorapi.DeadLetterPage
		require.NoError(t, jsonInto(n.call("GET", "/v1/dead-letters", nil, nil).Body, &again))
		require.Len(t, again.DeadLetters, 7, "it is parked again")
	}, waitFor, tick)

	dismiss := func() answer {
		return n.call("POST", "/v1/dead-letters/"+page.DeadLetters[1].ID.String()+"/dismiss",
			map[string]any{"reason": "a test wrote it", "operator": "eve"}, nil)
	}
	var dismissed coordinatorapi.DeadLetter
	dismiss().into(t, &dismissed)
	require.NotNil(t, dismissed.DismissedAt)
	require.Equal(t, "eve", *dismissed.DismissedBy)
	require.Equal(t, "a test wrote it", *dismissed.DismissedReason)
	require.Equal(t, "already_dismissed", dismiss().code(t))
	require.Contains(t, string(n.call("GET", "/metrics", nil, nil).Body), "recourse_dead_letters_open 5\n")
}

func TestReplies_repeated_and_late(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	var ids []uuid.UUID
	for i := range 20 {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	for _, id := range ids {
		n.awaitStatus(id, "completed")
		require.Eventually(t, func() bool { return len(s.world.commands(id)) == steps(t) }, waitFor, tick)
	}
	// Everything once more, in the wrong order, and a refusal that contradicts nothing because it is older.
	before := n.order(ids[0])
	for _, id := range ids {
		for _, key := range []string{"capture_payment/do", "reserve_stock/do", "authorize_payment/do"} {
			c := s.world.first(id, key)
			s.world.send(c, success(c))
		}
	}
	probe := n.submit("probe", newOrder()).ID
	n.awaitStatus(probe, "completed")
	for _, id := range ids {
		require.Len(t, s.world.commands(id), steps(t))
	}
	after := n.order(ids[0])
	require.GreaterOrEqual(t, after.Revision, before.Revision)
	require.Equal(t, "completed", string(after.Status))
	var page coordinatorapi.DeadLetterPage
	n.call("GET", "/v1/dead-letters", nil, nil).into(t, &page)
	require.Empty(t, page.DeadLetters)
}

func TestReplies_kept_as_evidence(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	s.world.answer(mute("create_shipment/do"))
	id := n.submit("k", newOrder()).ID
	shipment := s.world.first(id, "create_shipment/do")
	n.cancel(id, nil)
	o := n.awaitStatus(id, "cancelled")
	// The late done is older than the undo's proof: it changes nothing, and the history keeps it.
	s.world.send(shipment, success(shipment))
	require.EventuallyWithT(t, func(t *assertT) {
		var page coordinatorapi.HistoryPage
		require.NoError(t, jsonInto(n.call("GET", "/v1/sagas/"+id.String()+"/history", nil, nil).Body, &page))
		last := page.Entries[len(page.Entries)-1]
		require.True(t, last.Events[0].EvidenceOnly)
		require.Equal(t, "reply_done", last.Events[0].Event)
		require.Equal(t, o.Revision, last.Revision)
	}, waitFor, tick)
	require.Equal(t, o.Revision, n.order(id).Revision)
}

func TestDomainEvents(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet)
	n := s.start(t)
	good := n.submit("good", newOrder()).ID
	n.awaitStatus(good, "completed")
	s.world.answer(func(c command) *sagav1.Reply {
		if c.key() == "reserve_stock/do" {
			return refusal("out_of_stock")
		}
		return nil
	})
	bad := n.submit("bad", newOrder()).ID
	n.awaitStatus(bad, "cancelled")
	got := map[string][]string{}
	for _, r := range s.consumeEvents(t, 6) {
		envelope, body, err := message.Decode(r)
		require.NoError(t, err)
		require.Equal(t, envelope.Subject, string(r.Key))
		got[envelope.Subject] = append(got[envelope.Subject], envelope.Type)
		if cancelled, ok := body.(*orderv1.OrderCancelled); ok {
			require.Equal(t, "out_of_stock", cancelled.GetCode())
		}
	}
	require.Equal(t, []string{
		"recourse.order.v1.OrderAccepted", "recourse.order.v1.OrderConfirmed", "recourse.order.v1.OrderCompleted",
	}, got[good.String()])
	require.Equal(t, []string{
		"recourse.order.v1.OrderAccepted", "recourse.order.v1.OrderCancelling", "recourse.order.v1.OrderCancelled",
	}, got[bad.String()])
}

// consumeEvents reads that many domain events from the start of their topic.
func (s *system) consumeEvents(t *testing.T, count int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.config.Kafka.Brokers...),
		kgo.ConsumeTopics(s.config.Kafka.Topics().OrderEventsTopic()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(t.Context())
		require.NoError(t, fetches.Err0())
		records = append(records, fetches.Records()...)
	}
	return records
}

// A poll that is more than goes into one transaction goes through two lanes, and a reply that is repeated changes nothing.
func TestReplies_many_at_once_go_in_lanes(t *testing.T) {
	t.Parallel()
	s := newSystem(t, quiet, func(c *coordinator.Config) { c.MaxBatch = 4 })
	n := s.start(t)
	s.world.hold("payment")
	var ids []uuid.UUID
	for i := range 60 {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	for _, id := range ids {
		n.awaitStatus(id, "processing")
	}
	// What comes while the coordinator is away is there together when it is back.
	n.stop()
	for _, id := range ids {
		reserve := s.world.first(id, "reserve_stock/do")
		s.world.send(reserve, success(reserve))
	}
	s.world.release("payment")
	n = s.start(t)
	for _, id := range ids {
		o := n.awaitEnd(id)
		require.Equal(t, "completed", string(o.Status))
		require.Len(t, s.world.received(id, "capture_payment/do"), 1)
	}
	transactions := metric(n, `batch_size_count{door="reply"}`)
	require.InDelta(t, transactions, metric(n, `batch_size_bucket{door="reply",le="8"}`), 0, "none is larger than a poll")
	require.Greater(t, transactions, sample(n, `recourse_kafka_batches_total{client="coordinator-consumer"}`))
	require.Zero(t, metric(n, "parked_total"))
}
