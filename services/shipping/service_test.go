package shipping_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
	"recourse.dev/services/shipping"
)

// running is the whole service: broker, database, carrier and API.
type running struct {
	fake     *fakeCarrier
	producer *kgo.Client
	replies  *kgo.Client
	topics   kafka.Topics
	api      *shippingapi.ClientWithResponses
	http     *http.Client
	url      string
}

func run(t *testing.T) *running {
	t.Helper()
	return runWith(t, func(*shipping.Config) {})
}

func runWith(t *testing.T, change func(*shipping.Config)) *running {
	t.Helper()
	fake := newFakeCarrier(t)
	config := shipping.Config{
		Settings:          service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 20 * time.Second},
		Kafka:             kafkatest.Config(t),
		DatabaseURL:       service.Secret(pgtest.URL(t, nil)),
		CarrierURL:        fake.server.URL,
		CarrierAPIKey:     "key",
		CarrierTimeout:    5 * time.Second,
		CarrierVisibility: time.Millisecond,
		UnitWeightG:       500,
		MaxCalls:          8,
		ProbeDelays:       []time.Duration{10 * time.Millisecond},
		ProbeEvery:        10 * time.Millisecond,
		WebhookSecret:     webhookSecret,
	}
	change(&config)
	log := kafkatest.Log(t)
	_, err := shipping.New(t.Context(), config, log)
	require.ErrorContains(t, err, "migrate", "a database without tables is refused")
	require.NoError(t, shipping.Migrate(t.Context(), config, log))
	require.NoError(t, shipping.Migrate(t.Context(), config, log), "migrating twice changes nothing")

	s, err := shipping.New(t.Context(), config, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	producer, err := kafka.NewProducer(config.Kafka, "test", log, nil)
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	replies, err := kgo.NewClient(kgo.SeedBrokers(config.Kafka.Brokers...),
		kgo.ConsumeTopics(config.Kafka.Topics().ReplyTopic("shipping")))
	require.NoError(t, err)
	t.Cleanup(replies.Close)
	url := "http://" + s.Addr()
	client := &http.Client{Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	api, err := shippingapi.NewClientWithResponses(url, shippingapi.WithHTTPClient(client))
	require.NoError(t, err)
	return &running{fake, producer, replies, config.Kafka.Topics(), api, client, url}
}

func (r *running) send(t *testing.T, commands ...worker.Input) {
	t.Helper()
	records := make([]*kgo.Record, len(commands))
	for i, c := range commands {
		var err error
		records[i], err = message.Encode(r.topics.CommandTopic("shipping"), c.GetMeta().GetOrderId(),
			message.Event{Source: "coordinator", Data: c})
		require.NoError(t, err)
	}
	require.NoError(t, kafka.Produce(t.Context(), r.producer, records))
}

// receive returns the next replies that are more than in_doubt, by order.
func (r *running) receive(t *testing.T, n int) map[string]*sagav1.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got := make(map[string]*sagav1.Reply, n)
	for len(got) < n {
		fetches := r.replies.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "got %d of %d replies", len(got), n)
		for _, record := range fetches.Records() {
			_, data, err := message.Decode(record)
			require.NoError(t, err)
			reply, ok := data.(*sagav1.Reply)
			require.True(t, ok)
			if reply.GetInDoubt() == nil {
				got[reply.GetOrderId()] = reply
			}
		}
	}
	return got
}

func TestService(t *testing.T) {
	t.Parallel()
	r := run(t)
	ctx := t.Context()

	dos := make([]*shippingv1.CreateShipment, 10)
	for i := range dos {
		dos[i] = create()
		r.send(t, dos[i])
	}
	refused := create()
	refused.ShipTo.Country = "AQ"
	r.fake.fail("buy", dropAfter, dropBefore, status500)
	r.send(t, refused)
	replies := r.receive(t, 11)
	require.Equal(t, "address_not_served", replies[refused.GetMeta().GetOrderId()].GetRefused().GetCode())
	for _, do := range dos {
		require.NotNil(t, replies[do.GetMeta().GetOrderId()].GetDone())
	}
	r.send(t, cancelOf(dos[1]))
	require.NotNil(t, r.receive(t, 1)[dos[1].GetMeta().GetOrderId()].GetUndone())
	junk := &kgo.Record{Topic: r.topics.CommandTopic("shipping"), Key: []byte("x"), Value: []byte("no command")}
	require.NoError(t, kafka.Produce(ctx, r.producer, []*kgo.Record{junk}))

	t.Run("ready", func(t *testing.T) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/readyz?verbose", nil)
		require.NoError(t, err)
		response, err := r.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	})
	t.Run("totals", func(t *testing.T) {
		totals, err := r.api.GetTotalsWithResponse(ctx)
		require.NoError(t, err)
		require.Equal(t, &shippingapi.Totals{LabelsBought: 10, LabelsVoided: 1, LabelsLive: 9}, totals.JSON200)
	})
	t.Run("books", func(t *testing.T) {
		var (
			bought, live int64
			rows         int
			after        *uuid.UUID
			last         uuid.UUID
		)
		limit := 4
		for {
			page, err := r.api.ListBooksWithResponse(ctx, &shippingapi.ListBooksParams{AfterOrder: after, Limit: &limit})
			require.NoError(t, err)
			require.NotNil(t, page.JSON200, string(page.Body))
			for _, e := range page.JSON200.Entries {
				require.Less(t, last.String(), e.OrderID.String(), "by order")
				last = e.OrderID
				rows++
				bought += e.LabelsBought
				live += e.LabelsLive
			}
			if after = page.JSON200.NextAfter; after == nil {
				break
			}
		}
		require.Equal(t, []int64{11, 10, 9}, []int64{int64(rows), bought, live})
		page, err := r.api.ListBooksWithResponse(ctx, &shippingapi.ListBooksParams{ToOrder: &uuid.Nil})
		require.NoError(t, err)
		require.Empty(t, page.JSON200.Entries)
	})
	t.Run("pages", func(t *testing.T) {
		seen := make(map[uuid.UUID]bool)
		var cursor *string
		limit := 4
		for pages := 0; ; pages++ {
			require.Less(t, pages, 3)
			page, err := r.api.ListShipmentsWithResponse(ctx, &shippingapi.ListShipmentsParams{Limit: &limit, Cursor: cursor})
			require.NoError(t, err)
			require.NotNil(t, page.JSON200, string(page.Body))
			for _, s := range page.JSON200.Shipments {
				require.False(t, seen[s.ShipmentID], "no shipment on two pages")
				seen[s.ShipmentID] = true
			}
			if cursor = page.JSON200.NextCursor; cursor == nil {
				break
			}
		}
		require.Len(t, seen, 11)
	})
	t.Run("filters", func(t *testing.T) {
		state := shippingapi.ShipmentStateRefused
		page, err := r.api.ListShipmentsWithResponse(ctx, &shippingapi.ListShipmentsParams{State: &state})
		require.NoError(t, err)
		require.Len(t, page.JSON200.Shipments, 1)
		require.Equal(t, "address_not_served", *page.JSON200.Shipments[0].RefusalCode)
		order := uuid.MustParse(dos[1].GetMeta().GetOrderId())
		page, err = r.api.ListShipmentsWithResponse(ctx, &shippingapi.ListShipmentsParams{OrderID: &order})
		require.NoError(t, err)
		require.Len(t, page.JSON200.Shipments, 1)
		require.Equal(t, shippingapi.ShipmentStateCancelled, page.JSON200.Shipments[0].State)
	})
	t.Run("one shipment", func(t *testing.T) {
		id := uuid.MustParse(replies[dos[1].GetMeta().GetOrderId()].GetDone().GetHandles()["shipment_id"])
		response, err := r.api.GetShipmentWithResponse(ctx, id)
		require.NoError(t, err)
		s := response.JSON200
		require.NotNil(t, s, string(response.Body))
		require.Equal(t, []string{"12 St James's Square", "2nd floor"}, s.ShipTo.Lines)
		require.Len(t, s.Items, 2)
		require.Len(t, s.Packages, 1)
		require.Equal(t, int64(1500), s.Packages[0].WeightG)
		require.Equal(t, shippingapi.LabelStateVoided, s.Packages[0].Labels[0].State)
		require.Equal(t, int64(490), *s.Packages[0].Labels[0].CostMinor)
		require.Len(t, s.Operations, 2)
		require.Equal(t, shippingapi.OperationKindVoid, s.Operations[1].Kind)
		require.Equal(t, shippingapi.AttemptOutcomeAnswered, *s.Operations[1].Attempts[0].Outcome)
	})
	t.Run("problems", func(t *testing.T) {
		missing, err := r.api.GetShipmentWithResponse(ctx, uuid.New())
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, missing.StatusCode())
		require.Equal(t, "not_found", missing.ApplicationProblemJSONDefault.Code)
		cursor := "not-a-cursor"
		bad, err := r.api.ListShipmentsWithResponse(ctx, &shippingapi.ListShipmentsParams{Cursor: &cursor})
		require.NoError(t, err)
		require.Equal(t, "cursor_invalid", bad.ApplicationProblemJSONDefault.Code)
		limit := 1000
		bad, err = r.api.ListShipmentsWithResponse(ctx, &shippingapi.ListShipmentsParams{Limit: &limit})
		require.NoError(t, err)
		require.Equal(t, "validation_failed", bad.ApplicationProblemJSONDefault.Code, string(bad.Body))
	})
	t.Run("dead letters", func(t *testing.T) {
		workertest.DeadLetters(t, r.url, junk)
	})
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	_, err := shipping.New(t.Context(), shipping.Config{}, kafkatest.Log(t))
	for _, setting := range []string{"CARRIER_TIMEOUT", "UNIT_WEIGHT_G", "PROBE_DELAYS", "DATABASE_URL", "KAFKA_BROKERS"} {
		require.ErrorContains(t, err, setting)
	}
}
