package inventory_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert" // for the type that EventuallyWithT hands in
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/migrations"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker/workertest"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/inventory"
)

func newConfig(t *testing.T) inventory.Config {
	t.Helper()
	return inventory.Config{
		DatabaseURL: service.Secret(pgtest.URL(t, migrations.FS("inventory"))),
		Kafka:       kafkatest.Config(t),
		SweepEvery:  20 * time.Millisecond,
	}
}

// The whole process: migrated, started, stocked over HTTP, asked over Kafka, swept by the clock, stopped.
func TestService_EndToEnd(t *testing.T) {
	t.Parallel()
	config, log := newConfig(t), kafkatest.Log(t)
	require.NoError(t, inventory.Migrate(t.Context(), config, log))
	require.NoError(t, inventory.Migrate(t.Context(), config, log), "a second time changes nothing")
	s, err := inventory.New(t.Context(), config, log)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()

	client, err := inventoryapi.NewClientWithResponses("http://" + s.Addr())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, text := get(t, "http://"+s.Addr()+"/readyz?verbose")
		require.Equal(c, http.StatusOK, status, text)
	}, 30*time.Second, 50*time.Millisecond)
	item, err := client.CreateItemWithResponse(t.Context(), inventoryapi.NewItem{Sku: "MUG"})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, item.StatusCode(), string(item.Body))
	_, err = client.CreateLocationWithResponse(t.Context(), inventoryapi.NewLocation{Code: "BERLIN", Country: "DE"})
	require.NoError(t, err)
	received, err := client.ReceiveStockWithResponse(t.Context(), &inventoryapi.ReceiveStockParams{IdempotencyKey: "1"},
		inventoryapi.Receipt{Lines: []inventoryapi.ReceiptLine{{Sku: "MUG", Location: "BERLIN", Quantity: 5}}})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, received.StatusCode(), string(received.Body))

	command := (&shop{}).reserve(want{"MUG", 3})
	meta := command.GetMeta()
	producer, err := kafka.NewProducer(config.Kafka, "test-producer", log, nil)
	require.NoError(t, err)
	defer producer.Close()
	topics := config.Kafka.Topics()
	record, err := message.Encode(topics.CommandTopic("inventory"), meta.GetOrderId(), message.Event{
		Source: "test", Subject: meta.GetOrderId(), CorrelationID: meta.GetSagaId(), Data: command,
	})
	require.NoError(t, err)
	require.NoError(t, kafka.Produce(t.Context(), producer, []*kgo.Record{record}))
	reply := readReply(t, config.Kafka, topics.ReplyTopic("inventory"))
	require.NotNil(t, reply.GetDone(), "%v", reply)
	require.Equal(t, meta.GetSagaId(), reply.GetSagaId())
	require.Contains(t, reply.GetWorker(), "inventory/")

	pool := pgtest.Pool(t, config.DatabaseURL.Reveal())
	_, err = pool.Exec(t.Context(), `UPDATE reservation SET expires_at = now()`)
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		page, err := client.ListReservationsWithResponse(t.Context(), nil)
		require.NoError(c, err)
		require.Equal(c, inventoryapi.Expired, page.JSON200.Reservations[0].State)
	}, 30*time.Second, 50*time.Millisecond, "the sweeper comes by itself")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, text := get(t, "http://"+s.Addr()+"/metrics")
		require.Equal(c, http.StatusOK, status)
		require.Contains(c, text, "recourse_inventory_holds_expired_total 1")
	}, 10*time.Second, 20*time.Millisecond, "counted after the commit")

	junk := &kgo.Record{Topic: record.Topic, Key: []byte("x"), Value: []byte("no command")}
	require.NoError(t, kafka.Produce(t.Context(), producer, []*kgo.Record{junk}))
	workertest.DeadLetters(t, "http://"+s.Addr(), junk)
	stop()
	require.NoError(t, <-stopped)
}

func readReply(t *testing.T, config kafka.Config, topic string) *sagav1.Reply {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	fetches := client.PollRecords(ctx, 1)
	require.NoError(t, fetches.Err())
	_, data, err := message.Decode(fetches.Records()[0])
	require.NoError(t, err)
	reply, ok := data.(*sagav1.Reply)
	require.True(t, ok)
	return reply
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestService_RefusesToStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*inventory.Config)
		says   string
	}{
		{"no_database_url", func(c *inventory.Config) { c.DatabaseURL = "" }, "DATABASE_URL is required"},
		{"one_connection", func(c *inventory.Config) { c.DatabaseConns = 1 }, "DATABASE_CONNS=1: want 3 or more"},
		{"batch_of_minus_one", func(c *inventory.Config) { c.MaxBatch = -1 }, "MAX_BATCH=-1: want 1 to 5000"},
		{"sweeping_all_the_time", func(c *inventory.Config) { c.SweepEvery = 1 }, "SWEEP_EVERY=1ns: want 10ms or more"},
		{"no_broker", func(c *inventory.Config) { c.Kafka.Brokers = nil }, "KAFKA_BROKERS is required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := inventory.Config{DatabaseURL: "postgres://nowhere", Kafka: kafka.Config{Brokers: []string{"nowhere:1"}}}
			c.change(&config)
			_, err := inventory.New(t.Context(), config, kafkatest.Log(t))
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, inventory.Migrate(t.Context(), config, kafkatest.Log(t)), c.says)
		})
	}
	t.Run("not_migrated", func(t *testing.T) {
		t.Parallel()
		config := newConfig(t)
		config.DatabaseURL = service.Secret(pgtest.URL(t, nil))
		_, err := inventory.New(t.Context(), config, kafkatest.Log(t))
		require.ErrorContains(t, err, "run its migrate command first")
	})
	t.Run("no_topics", func(t *testing.T) {
		t.Parallel()
		_, err := inventory.New(t.Context(), newConfig(t), kafkatest.Log(t))
		require.ErrorContains(t, err, "inventory.commands.v1 is not there: run `migrate`")
	})
	t.Run("address_of_somebody_else", func(t *testing.T) {
		t.Parallel()
		config := newConfig(t)
		require.NoError(t, inventory.Migrate(t.Context(), config, kafkatest.Log(t)))
		config.HTTPAddr = "256.0.0.1:80"
		_, err := inventory.New(t.Context(), config, kafkatest.Log(t))
		require.ErrorContains(t, err, "HTTP_ADDR=256.0.0.1:80")
	})
}
