package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
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

func TestProduce_context_ends(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	producer := mustProducer(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, kafka.Produce(ctx, producer, numbered(config.Topics().CommandTopic("a"), 0, 3)), context.Canceled)
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
