package embedded_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/kafka/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustStart(t *testing.T, options embedded.Options) *embedded.Broker {
	t.Helper()
	broker, err := embedded.Start(options)
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	return broker
}

// Topics, records and committed offsets are there again after a restart.
func TestStart_data_survive_a_restart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := mustStart(t, embedded.Options{DataDir: dir, Log: kafkatest.Log(t)})
	config := kafka.Config{Brokers: broker.Addrs(), Partitions: 2}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), "topic"))
	produce(t, config, "one", "two")
	require.Equal(t, []string{"one", "two"}, consume(t, config, 2))
	produce(t, config, "three")
	broker.Close()
	broker.Close()

	config.Brokers = mustStart(t, embedded.Options{DataDir: dir, Log: kafkatest.Log(t)}).Addrs()
	require.NoError(t, kafka.CheckTopics(t.Context(), config, kafkatest.Log(t), "topic"))
	require.Equal(t, []string{"three"}, consume(t, config, 1))
}

func TestStart_in_memory_forgets(t *testing.T) {
	t.Parallel()
	broker := mustStart(t, embedded.Options{})
	config := kafka.Config{Brokers: broker.Addrs()}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), "topic"))
	broker.Close()
	config.Brokers = mustStart(t, embedded.Options{Addr: broker.Addrs()[0]}).Addrs()
	require.ErrorContains(t, kafka.CheckTopics(t.Context(), config, kafkatest.Log(t), "topic"), "topic topic is not there")
}

// A client that outlived the broker's data still names the topics of before, several in one request.
func TestStart_stale_topics_are_refused(t *testing.T) {
	t.Parallel()
	topics := []string{"a", "b", "c"}
	config := kafka.Config{Brokers: mustStart(t, embedded.Options{}).Addrs(), Partitions: 1}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topics...))
	producer, err := kafka.NewProducer(config, "producer", kafkatest.Log(t), nil)
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	records := func() (out []*kgo.Record) {
		for _, topic := range topics {
			out = append(out, kgo.StringRecord(topic))
			out[len(out)-1].Topic = topic
		}
		return out
	}
	require.NoError(t, kafka.Produce(t.Context(), producer, records()))

	admin := kadm.NewClient(producer)
	_, err = admin.DeleteTopics(t.Context(), topics[:2]...)
	require.NoError(t, err)
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topics...))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.NoError(c, kafka.Produce(t.Context(), producer, records()))
	}, 20*time.Second, 50*time.Millisecond)
}

func TestStart_refuses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		":9092":            "must name a host",
		"nonsense":         "nonsense",
		"127.0.0.1:999999": "127.0.0.1:999999",
	} {
		_, err := embedded.Start(embedded.Options{Addr: addr})
		require.ErrorContains(t, err, want)
	}
}

func produce(t *testing.T, config kafka.Config, values ...string) {
	t.Helper()
	producer, err := kafka.NewProducer(config, "producer", kafkatest.Log(t), nil)
	require.NoError(t, err)
	defer producer.Close()
	var records []*kgo.Record
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: "topic", Key: []byte("key"), Value: []byte(value)})
	}
	require.NoError(t, kafka.Produce(t.Context(), producer, records))
}

// consume reads n records as the group and commits them.
func consume(t *testing.T, config kafka.Config, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var values []string
	consumer, err := kafka.NewConsumer(config, "consumer", kafka.ConsumerOptions{
		Group: "group", Topics: []string{"topic"},
		Handle: func(_ context.Context, records []*kgo.Record) error {
			for _, r := range records {
				values = append(values, string(r.Value))
			}
			if len(values) >= n {
				cancel()
			}
			return nil
		},
	}, kafkatest.Log(t), nil)
	require.NoError(t, err)
	require.NoError(t, consumer.Run(ctx))
	return values
}

// startOf is the offset at which a topic of one partition begins.
func startOf(broker *embedded.Broker) int64 {
	return broker.Cluster().PartitionInfo("topic", 0).LogStartOffset
}

func values(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	return list
}

// What every group has read is forgotten, but for the newest records; what one has not read is not.
func TestForget(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"in memory": "", "on disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := mustStart(t, embedded.Options{DataDir: dir, Keep: 100, Log: kafkatest.Log(t)})
			config := kafka.Config{Brokers: broker.Addrs(), Partitions: 1}
			require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), "topic", "next"))
			produce(t, config, values(1000)...)
			// Somebody reads slowly: 400 of them.
			slow, err := kgo.NewClient(kgo.SeedBrokers(broker.Addrs()...))
			require.NoError(t, err)
			t.Cleanup(slow.Close)
			commit := func(offset int64) {
				offsets := kadm.OffsetsFromRecords(kgo.Record{Topic: "topic", Offset: offset - 1})
				require.NoError(t, kadm.NewClient(slow).CommitAllOffsets(t.Context(), "slow", offsets))
			}
			commit(400)
			consume(t, config, 1000)
			require.Eventually(t, func() bool { return startOf(broker) == 400 }, 20*time.Second, 20*time.Millisecond)
			commit(1000)
			require.Eventually(t, func() bool { return startOf(broker) == 900 }, 20*time.Second, 20*time.Millisecond)
			produce(t, config, "next")
			require.Equal(t, []string{"next"}, consume(t, config, 1))
		})
	}
}

// A topic that no group reads keeps its newest records for who comes later.
func TestForget_topic_without_readers(t *testing.T) {
	t.Parallel()
	broker := mustStart(t, embedded.Options{Keep: 100})
	config := kafka.Config{Brokers: broker.Addrs(), Partitions: 1}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), "topic"))
	produce(t, config, values(149)...)
	produce(t, config, values(1000)...)
	require.Eventually(t, func() bool { return startOf(broker) == 1049 }, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, values(1000)[900:], consume(t, config, 100))
}

// A group that came, went before anything was there to be read, and will come again.
func TestForget_nothing_for_a_reader_that_has_read_nothing(t *testing.T) {
	t.Parallel()
	broker := mustStart(t, embedded.Options{Keep: 100})
	config := kafka.Config{Brokers: broker.Addrs(), Partitions: 1}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), "topic"))
	came := make(chan struct{})
	reader, err := kgo.NewClient(kgo.SeedBrokers(broker.Addrs()...), kgo.ConsumerGroup("group"), kgo.ConsumeTopics("topic"),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { close(came) }))
	require.NoError(t, err)
	<-came
	reader.Close()

	produce(t, config, values(1000)...)
	require.NoError(t, broker.Forget(t.Context()))
	require.Zero(t, startOf(broker))
	require.Equal(t, values(1000), consume(t, config, 1000))
	require.NoError(t, broker.Forget(t.Context()))
	require.EqualValues(t, 900, startOf(broker))
}
