package kafka_test

import (
	"context"
	"sync/atomic"
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

func journalOptions(config kafka.Config, j *journal) kafka.ConsumerOptions {
	return kafka.ConsumerOptions{
		Group: config.Topics().Group("a"), Topics: []string{config.Topics().CommandTopic("a")},
		Handle: func(_ context.Context, records []*kgo.Record) error {
			j.add(records)
			return nil
		},
	}
}

// Retention or an operator deleted records ahead of the group: go on with what is left, and say so.
func TestConsumer_records_deleted_before_they_were_read(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic := config.Topics().CommandTopic("a")
	producer := mustProducer(t, config)
	var j journal
	first := start(t, config, journalOptions(config, &j))
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100) }, wait, 50*time.Millisecond)
	first.stop(t)

	missed := numbered(topic, 100, 200)
	require.NoError(t, kafka.Produce(t.Context(), producer, missed))
	left := map[int]bool{}
	deletion := kadm.Offsets{}
	perPartition := map[int32]int{}
	for i, r := range missed {
		// The first five of each partition go.
		if perPartition[r.Partition]++; perPartition[r.Partition] == 6 {
			deletion.Add(kadm.Offset{Topic: topic, Partition: r.Partition, At: r.Offset, LeaderEpoch: -1})
		}
		if perPartition[r.Partition] > 5 {
			left[100+i] = true
		}
	}
	deleted, err := kadm.NewClient(producer).DeleteRecords(t.Context(), deletion)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())

	second := start(t, config, journalOptions(config, &j))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100+len(left)) }, wait, 50*time.Millisecond)
	require.Equal(t, float64(100-len(left)), second.counter(t, "records_lost_total"))
	require.Zero(t, mustLag(t, t.Context(), producer, config.Topics().Group("a"), topic))
}

// The broker lost the log but kept the group's offsets, which now lie behind its end. The end would skip everything
// that is written meanwhile.
func TestConsumer_committed_offset_behind_the_end(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic := config.Topics().CommandTopic("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	offsets := kadm.Offsets{}
	for partition := range config.Partitions {
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: 5000, LeaderEpoch: -1})
	}
	require.NoError(t, kadm.NewClient(producer).CommitAllOffsets(t.Context(), config.Topics().Group("a"), offsets))

	var j journal
	c := start(t, config, journalOptions(config, &j))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100) }, wait, 50*time.Millisecond)
	require.NotZero(t, c.counter(t, "data_loss_total"))
}

// A broker that lost its disk and was set up again while the consumer ran.
func TestConsumer_topic_made_anew(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic := config.Topics().CommandTopic("a")
	producer := mustProducer(t, config)
	var j journal
	c := start(t, config, journalOptions(config, &j))
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100) }, wait, 50*time.Millisecond)
	remakeTopic(t, config, topic)
	require.EventuallyWithT(t, func(a *assertT) {
		require.NoError(a, kafka.Produce(t.Context(), producer, numbered(topic, 100, 200)))
	}, wait, 100*time.Millisecond)
	require.EventuallyWithT(t, func(a *assertT) { require.Equal(a, upTo(200), j.distinct()) }, 2*wait, 50*time.Millisecond)
	require.NotZero(t, c.counter(t, "data_loss_total"))
}

// mustBroker is a broker of the test's own, with a topic.
func mustBroker(t *testing.T) (broker *embedded.Broker, config kafka.Config, topic string) {
	t.Helper()
	broker, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	config = kafka.Config{Brokers: broker.Addrs(), Partitions: 4}
	topic = config.Topics().CommandTopic("a")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	return broker, config, topic
}

// refuseCommits lets commits of offsets fail for as long as refused says so.
func refuseCommits(broker *embedded.Broker, refused func() bool) {
	broker.Cluster().ControlKey(int16(kmsg.OffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		broker.Cluster().KeepControl()
		commit, ok := request.(*kmsg.OffsetCommitRequest)
		if !ok || !refused() {
			return nil, nil, false
		}
		response := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range commit.Topics {
			answer := kmsg.NewOffsetCommitResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				p := kmsg.NewOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, kerr.OffsetMetadataTooLarge.Code
				answer.Partitions = append(answer.Partitions, p)
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
}

// A commit that fails is made up for even if no more records come, so that the lag tells the truth.
func TestConsumer_failed_commit_is_made_up_for(t *testing.T) {
	t.Parallel()
	broker, config, topic := mustBroker(t)
	var asked atomic.Int32
	refuseCommits(broker, func() bool { return asked.Add(1) <= 2 })
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 20)))
	var j journal
	c := start(t, config, journalOptions(config, &j))
	require.EventuallyWithT(t, func(a *assertT) {
		require.Len(a, j.distinct(), 20)
		require.Zero(a, mustLag(a, t.Context(), producer, config.Topics().Group("a"), topic))
	}, wait, 50*time.Millisecond)
	require.Equal(t, 20, j.len())
	require.GreaterOrEqual(t, c.counter(t, "commit_failures_total"), float64(1))
}

// A handler that panics has not handled its batch, and what was owed before must not be paid with its offsets.
func TestConsumer_panic_commits_nothing_of_the_batch_in_hand(t *testing.T) {
	t.Parallel()
	broker, config, topic := mustBroker(t)
	group := config.Topics().Group("a")
	var answering atomic.Bool
	refuseCommits(broker, func() bool { return !answering.Load() })
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 1)))
	var batches atomic.Int32
	c, err := kafka.NewConsumer(config, "test-consumer", kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 1,
		Handle: func(context.Context, []*kgo.Record) error {
			if batches.Add(1) == 1 {
				return kafka.Produce(t.Context(), producer, numbered(topic, 1, 2))
			}
			answering.Store(true)
			panic("handler bug")
		},
	}, kafkatest.Log(t), nil)
	require.NoError(t, err)
	require.PanicsWithValue(t, "handler bug", func() { _ = c.Run(t.Context()) })
	require.GreaterOrEqual(t, mustLag(t, t.Context(), producer, group, topic), int64(1))
}

// The broker goes away in the middle and comes back at the same address with its data.
func TestConsumer_broker_comes_back(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker, err := embedded.Start(embedded.Options{DataDir: dir})
	require.NoError(t, err)
	config := kafka.Config{Brokers: broker.Addrs(), Partitions: 4}
	topic := config.Topics().CommandTopic("a")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	var j journal
	start(t, config, journalOptions(config, &j))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100) }, wait, 50*time.Millisecond)

	broker.Close()
	broker, err = embedded.Start(embedded.Options{DataDir: dir, Addr: broker.Addrs()[0]})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 100, 200)))
	require.EventuallyWithT(t, func(a *assertT) { require.Equal(a, upTo(200), j.distinct()) }, wait, 50*time.Millisecond)
}

// A broker that is away does not hold up the end of the process.
func TestConsumer_stops_without_a_broker(t *testing.T) {
	t.Parallel()
	broker, config, topic := mustBroker(t)
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 20)))
	inHand, goOn := make(chan struct{}, 10), make(chan struct{})
	options := journalOptions(config, &journal{})
	options.Handle = func(context.Context, []*kgo.Record) error {
		inHand <- struct{}{}
		<-goOn
		return nil
	}
	options.CommitTimeout = time.Second
	c := start(t, config, options)
	<-inHand
	broker.Close()
	began := time.Now()
	c.cancel()
	close(goOn)
	c.stop(t)
	require.Less(t, time.Since(began), 10*time.Second)
	t.Log("stopped after", time.Since(began))
}
