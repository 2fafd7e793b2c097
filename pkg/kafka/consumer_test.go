package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

type assertT = assert.CollectT

const wait = 40 * time.Second

// journal is what handlers saw, in order.
type journal struct {
	mu      sync.Mutex
	values  []int
	records []*kgo.Record
	inside  atomic.Int32
	overlap atomic.Bool
}

func (j *journal) add(records []*kgo.Record) {
	if j.inside.Add(1) > 1 {
		j.overlap.Store(true)
	}
	defer j.inside.Add(-1)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range records {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			panic(err)
		}
		j.values = append(j.values, n)
		j.records = append(j.records, r)
	}
}

// distinct returns the sorted numbers that were seen.
func (j *journal) distinct() []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(j.values)))
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.values)
}

// mustBeInOrder checks that each partition's offsets only rise, by one each.
func (j *journal) mustBeInOrder(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	next := map[string]int64{}
	for _, r := range j.records {
		at := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		if want, seen := next[at]; seen {
			require.Equal(t, want, r.Offset, at)
		}
		next[at] = r.Offset + 1
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// running is a consumer under test.
type running struct {
	*kafka.Consumer
	cancel   context.CancelFunc
	done     chan error
	registry *prometheus.Registry
}

func start(t *testing.T, config kafka.Config, options kafka.ConsumerOptions) *running {
	t.Helper()
	r := &running{registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	var err error
	r.Consumer, err = kafka.NewConsumer(config, "test-consumer", options, kafkatest.Log(t), r.registry)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.cancel = cancel
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop may be called twice.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		require.NoError(t, err)
		r.done <- nil
	case <-time.After(wait):
		t.Error("the consumer does not stop")
	}
}

func (r *running) counter(t require.TestingT, name string) float64 {
	families, err := r.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "recourse_kafka_"+name {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.Fail(t, "no such metric", name)
	return 0
}

func mustLag(t require.TestingT, ctx context.Context, client *kgo.Client, group, topic string) int64 {
	lag, err := kafka.Lag(ctx, client, group, topic)
	// A broker that has never had a group makes the topic of the offsets first, and cannot answer meanwhile.
	for end := time.Now().Add(wait); errors.Is(err, kerr.CoordinatorNotAvailable) && time.Now().Before(end); {
		<-time.After(50 * time.Millisecond)
		lag, err = kafka.Lag(ctx, client, group, topic)
	}
	require.NoError(t, err)
	sum := int64(0)
	for _, n := range lag {
		sum += n
	}
	return sum
}

func TestConsumer_handles_all_in_order_and_commits(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 1000)))
	require.Equal(t, int64(1000), mustLag(t, t.Context(), producer, group, topic))

	var j journal
	options := kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 64,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			if len(records) > 64 {
				return fmt.Errorf("%d records", len(records))
			}
			j.add(records)
			return nil
		},
	}
	first := start(t, config, options)
	require.EventuallyWithT(t, func(c *assertT) {
		require.Len(c, j.distinct(), 1000)
		require.Zero(c, mustLag(c, t.Context(), producer, group, topic))
		require.NoError(c, first.Check(t.Context()))
	}, wait, 50*time.Millisecond)
	j.mustBeInOrder(t)
	require.Equal(t, 1000, j.len())
	require.False(t, j.overlap.Load())
	require.Equal(t, float64(1000), first.counter(t, "records_handled_total"))
	require.Zero(t, first.counter(t, "records_lost_total"))
	first.stop(t)
	require.Error(t, first.Check(t.Context()))

	// The next one goes on where the first one stopped.
	start(t, config, options)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 1000, 1010)))
	require.EventuallyWithT(t, func(c *assertT) { require.Len(c, j.distinct(), 1010) }, wait, 50*time.Millisecond)
	require.Equal(t, 1010, j.len())
}

// What came while a batch was in hand is the next one, as far as there is room, and not first what the client had asked
// for by then.
func TestConsumer_takes_what_came_meanwhile_together(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t)
	config.Partitions = 1 // so that one broker has it all
	kafkatest.Create(t, config, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	batches, goOn := make(chan int), make(chan struct{})
	c, err := kafka.NewConsumer(config, "test-consumer", kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 6,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			batches <- len(records)
			<-goOn
			return nil
		},
	}, kafkatest.Log(t), nil)
	require.NoError(t, err)
	c.LookAgain(wait)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()

	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 1)))
	require.Equal(t, 1, <-batches)
	// The client's next fetch is answered with the first of these.
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 1, 2)))
	require.Eventually(t, func() bool { return c.Buffered() == 1 }, wait, time.Millisecond)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 2, 10)))
	goOn <- struct{}{}
	require.Equal(t, 6, <-batches)
	stop()
	goOn <- struct{}{}
	require.NoError(t, <-done)
}

// The batch in hand is tried again and again, and nothing behind it comes first.
func TestConsumer_failing_batch_is_tried_again(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	var (
		j     journal
		fails atomic.Int32
		first atomic.Pointer[kgo.Record]
	)
	c := start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 10,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			if fails.Add(1) <= 4 {
				if before := first.Swap(records[0]); before != nil && before != records[0] {
					return errors.New("another batch before this one was handled")
				}
				return errors.New("the database is away")
			}
			j.add(records)
			return nil
		},
	})
	require.EventuallyWithT(t, func(c *assertT) { require.Len(c, j.distinct(), 100) }, wait, 50*time.Millisecond)
	j.mustBeInOrder(t)
	require.Equal(t, 100, j.len())
	require.Equal(t, float64(4), c.counter(t, "handle_failures_total"))
	require.Zero(t, c.counter(t, "batches_given_back_total"))
}

// After HandleTimeout the batch is given back. Without the rewind the member would go on behind it.
func TestConsumer_batch_given_back_is_read_again(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 500)))
	var (
		j    journal
		away atomic.Bool
	)
	c := start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 30, HandleTimeout: 300 * time.Millisecond,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			if j.len() >= 60 && away.Load() {
				return errors.New("the database is away")
			}
			j.add(records)
			return nil
		},
	})
	away.Store(true)
	require.EventuallyWithT(t, func(a *assertT) {
		require.GreaterOrEqual(a, c.counter(a, "batches_given_back_total"), float64(3))
	}, wait, 20*time.Millisecond)
	// What was handled before is committed, what was given back is not.
	require.Equal(t, int64(500-j.len()), mustLag(t, t.Context(), producer, group, topic))
	away.Store(false)
	require.EventuallyWithT(t, func(a *assertT) {
		require.Equal(a, upTo(500), j.distinct())
		require.Zero(a, mustLag(a, t.Context(), producer, group, topic))
	}, wait, 50*time.Millisecond)
	j.mustBeInOrder(t)
	require.Equal(t, 500, j.len())
	require.Zero(t, c.counter(t, "records_lost_total"))
	require.Zero(t, c.counter(t, "data_loss_total"))
}

// A member that cannot do its work does not hold up the group: the other one takes over, and reads the failed batch.
func TestConsumer_failing_member_lets_the_group_rebalance(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 200)))
	var sick atomic.Bool
	sick.Store(true)
	var j journal
	failing := start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 10,
		Handle: func(context.Context, []*kgo.Record) error { return errors.New("sick") },
	})
	require.EventuallyWithT(t, func(a *assertT) {
		require.NotZero(a, failing.counter(a, "handle_failures_total"))
	}, wait, 20*time.Millisecond)
	start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 10,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			j.add(records)
			return nil
		},
	})
	// Half of the partitions come to the sound member while the other one still fails.
	require.EventuallyWithT(t, func(a *assertT) { require.NotEmpty(a, j.distinct()) }, wait, 50*time.Millisecond)
	failing.stop(t)
	require.EventuallyWithT(t, func(a *assertT) {
		require.Equal(a, upTo(200), j.distinct())
		require.Zero(a, mustLag(a, t.Context(), producer, group, topic))
	}, wait, 50*time.Millisecond)
	require.Equal(t, 200, j.len())
}

// Members come and go in the middle of batches, some of which fail. Whatever is handled twice is handled twice; nothing
// is left out.
func TestConsumer_rebalances_skip_nothing(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	var (
		j journal
		n atomic.Int32
	)
	options := kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 7,
		Handle: func(_ context.Context, records []*kgo.Record) error {
			if n.Add(1)%5 == 0 {
				return errors.New("now and then")
			}
			j.add(records)
			return nil
		},
	}
	start(t, config, options)
	for round := range 3 {
		require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, round*300, round*300+300)))
		joined := make(chan struct{}, 10)
		joining := options
		joining.OnAssigned = func(map[string][]int32) { joined <- struct{}{} }
		other := start(t, config, joining)
		<-joined
		other.stop(t)
	}
	require.EventuallyWithT(t, func(a *assertT) {
		require.Equal(a, upTo(900), j.distinct())
		require.Zero(a, mustLag(a, t.Context(), producer, group, topic))
	}, wait, 50*time.Millisecond)
}

func TestConsumer_equal_partitions_of_all_topics_on_one_member(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.replies.v1", "b.replies.v1")
	topics := []string{config.Topics().ReplyTopic("a"), config.Topics().ReplyTopic("b")}
	type owned struct {
		mu sync.Mutex
		by map[string][]int32
	}
	members := [2]owned{}
	for i := range members {
		o := &members[i]
		start(t, config, kafka.ConsumerOptions{
			Group: config.Topics().Group("coordinator"), Topics: topics,
			Handle: func(context.Context, []*kgo.Record) error { return nil },
			OnAssigned: func(partitions map[string][]int32) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.by = partitions
			},
			OnRevoked: func(map[string][]int32) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.by = nil
			},
		})
	}
	require.EventuallyWithT(t, func(a *assertT) {
		for i := range members {
			o := &members[i]
			o.mu.Lock()
			defer o.mu.Unlock()
			require.Len(a, o.by[topics[0]], 2)
			require.ElementsMatch(a, o.by[topics[0]], o.by[topics[1]])
		}
	}, wait, 50*time.Millisecond)
}

func TestConsumer_drain_finishes_the_batch_in_hand(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 50)))
	inHand, goOn := make(chan int, 10), make(chan struct{})
	c := start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, MaxRecords: 10,
		Handle: func(ctx context.Context, records []*kgo.Record) error {
			inHand <- len(records)
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	size := <-inHand
	c.cancel()
	close(goOn)
	c.stop(t)
	require.Empty(t, inHand, "a batch was begun after the order to stop")
	require.Equal(t, int64(50-size), mustLag(t, t.Context(), producer, group, topic))
	// It left the group, nobody has to wait for its session to end.
	described, err := kadm.NewClient(producer).DescribeGroups(t.Context(), group)
	require.NoError(t, err)
	require.Empty(t, described[group].Members)
}

func TestConsumer_drain_is_bounded(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "a.commands.v1")
	topic, group := config.Topics().CommandTopic("a"), config.Topics().Group("a")
	producer := mustProducer(t, config)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 50)))
	inHand := make(chan struct{}, 10)
	c := start(t, config, kafka.ConsumerOptions{
		Group: group, Topics: []string{topic}, DrainTimeout: 200 * time.Millisecond,
		Handle: func(ctx context.Context, _ []*kgo.Record) error {
			inHand <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	<-inHand
	began := time.Now()
	c.stop(t)
	require.Less(t, time.Since(began), 5*time.Second)
	require.Equal(t, int64(50), mustLag(t, t.Context(), producer, group, topic))
}

func TestNewConsumer_refuses(t *testing.T) {
	t.Parallel()
	config := kafka.Config{Brokers: []string{"localhost:9092"}}
	handle := func(context.Context, []*kgo.Record) error { return nil }
	_, err := kafka.NewConsumer(config, "c", kafka.ConsumerOptions{Topics: []string{"t"}, Handle: handle}, kafkatest.Log(t), nil)
	require.ErrorContains(t, err, "Group")
	_, err = kafka.NewConsumer(config, "c", kafka.ConsumerOptions{
		Group: "g", Topics: []string{"t"}, Handle: handle, HandleTimeout: 2 * time.Minute,
	}, kafkatest.Log(t), nil)
	require.ErrorContains(t, err, "KAFKA_REBALANCE_TIMEOUT")
	_, err = kafka.NewConsumer(kafka.Config{}, "c", kafka.ConsumerOptions{
		Group: "g", Topics: []string{"t"}, Handle: handle,
	}, kafkatest.Log(t), nil)
	require.ErrorContains(t, err, "KAFKA_BROKERS")
}
