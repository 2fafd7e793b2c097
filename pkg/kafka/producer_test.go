package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/kafka/kafkatest"
)

func mustProducer(t *testing.T, config kafka.Config) *kgo.Client {
	t.Helper()
	producer, err := kafka.NewProducer(config, "test-producer", kafkatest.Log(t), nil)
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	return producer
}

func numbered(topic string, from, to int) []*kgo.Record {
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{
			Topic: topic, Key: fmt.Appendf(nil, "order-%d", i%16), Value: fmt.Appendf(nil, "%d", i),
		})
	}
	return records
}

func TestProduce_same_key_same_partition(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1", "b.commands.v1")
	producer := mustProducer(t, config)
	a := numbered(config.Topics().CommandTopic("a"), 0, 100)
	b := numbered(config.Topics().CommandTopic("b"), 0, 100)
	require.NoError(t, kafka.Produce(t.Context(), producer, a))
	require.NoError(t, kafka.Produce(t.Context(), producer, b))
	partitions := map[int32]bool{}
	for i := range a {
		require.Equal(t, a[i].Partition, b[i].Partition)
		partitions[a[i].Partition] = true
	}
	require.Greater(t, len(partitions), 1)
	require.NoError(t, kafka.Produce(t.Context(), producer, nil))
}

func TestProduce_topic_missing(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	producer := mustProducer(t, config)
	records := append(numbered(config.Topics().CommandTopic("a"), 0, 3),
		numbered(config.Topics().CommandTopic("nowhere"), 0, 3)...)
	err := kafka.Produce(t.Context(), producer, records)
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	require.ErrorContains(t, err, config.Topics().CommandTopic("nowhere"))
	require.ErrorContains(t, err, "and 2 more of 6 records")
}

// What a broker that was away did not take is produced again, however long that took.
func TestProduce_again_after_the_delivery_timeout(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	config.DeliveryTimeout = time.Second
	producer := mustProducer(t, config)
	records := numbered(config.Topics().CommandTopic("a"), 0, 3)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, kafka.Produce(ended, producer, records))
	<-time.After(config.DeliveryTimeout + 100*time.Millisecond)
	require.NoError(t, kafka.Produce(t.Context(), producer, records))
}

func TestProduce_context_ends(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	producer := mustProducer(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, kafka.Produce(ctx, producer, numbered(config.Topics().CommandTopic("a"), 0, 3)), context.Canceled)
}

// Giving up on records that are on their way must not make the broker take later ones for repeats of them: whatever was
// acknowledged is in the log.
func TestProduce_acknowledged_is_there_after_cancellations(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic := config.Topics().CommandTopic("a")
	producer := mustProducer(t, config)
	var acknowledged []int
	cancelled := 0
	for i := 0; i < 20000 && (cancelled < 20 || len(acknowledged) < 1000); i += 20 {
		// From hopeless to plenty, so that some requests are cut off at every stage.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%400)*20*time.Microsecond)
		if kafka.Produce(ctx, producer, numbered(topic, i, i+20)) == nil {
			for n := i; n < i+20; n++ {
				acknowledged = append(acknowledged, n)
			}
		} else {
			cancelled++
		}
		cancel()
	}
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 20000, 20020)))
	require.NotZero(t, cancelled)
	require.NotEmpty(t, acknowledged)

	var j journal
	start(t, config, journalOptions(config, &j))
	require.EventuallyWithT(t, func(c *assertT) { require.Contains(c, j.distinct(), 20019) }, wait, 50*time.Millisecond)
	require.EventuallyWithT(t, func(c *assertT) {
		require.Zero(c, mustLag(c, t.Context(), producer, config.Topics().Group("a"), topic))
	}, wait, 50*time.Millisecond)
	require.Subset(t, j.distinct(), acknowledged)
	t.Log("acknowledged", len(acknowledged), "calls cancelled", cancelled, "in the log", len(j.distinct()))
}

// A broker that dies with a request unanswered does not hold the caller longer than the delivery timeout.
func TestProduce_broker_dies(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	config := kafka.Config{Brokers: broker.Addrs(), Partitions: 4, DeliveryTimeout: 2 * time.Second}
	topic := config.Topics().CommandTopic("a")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 10)))
	asked := make(chan struct{}, 1)
	broker.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		asked <- struct{}{}
		return nil, errors.New("cut off without an answer"), true
	})
	failed := make(chan error, 1)
	began := time.Now()
	go func() { failed <- kafka.Produce(t.Context(), producer, numbered(topic, 10, 20)) }()
	<-asked
	broker.Close()
	require.Error(t, <-failed)
	require.Less(t, time.Since(began), 12*time.Second)
}

// A broker that lost its disk and was set up again has topics of the same names and other identities.
func TestProduce_topic_made_anew(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic := config.Topics().CommandTopic("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	remakeTopic(t, config, topic)
	// Until the client has heard of the new topic, the old one is merely missing.
	require.EventuallyWithT(t, func(c *assertT) {
		require.NoError(c, kafka.Produce(t.Context(), producer, numbered(topic, 0, 10)))
	}, 30*time.Second, 100*time.Millisecond)
}

// remakeTopic deletes the topic and makes it anew.
func remakeTopic(t *testing.T, config kafka.Config, topic string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	deleted, err := kadm.NewClient(client).DeleteTopics(t.Context(), topic)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	require.EventuallyWithT(t, func(c *assertT) {
		require.NoError(c, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	}, 20*time.Second, 50*time.Millisecond)
}
