package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pace"
)

// ConsumerOptions say what to consume and what to do with it.
type ConsumerOptions struct {
	// Group is the consumer group, for example Topics.Group("payment").
	Group  string
	Topics []string
	// Handle applies a batch: all of it, or it returns an error and the same batch comes again. It must be idempotent,
	// because a batch that was applied comes again too when its commit was lost. It is never called concurrently.
	// Its context ends HandleTimeout after the poll, or DrainTimeout after the order to stop.
	Handle func(ctx context.Context, records []*kgo.Record) error
	// OnAssigned and OnRevoked tell which partitions come and go, by topic. They are never called while Handle runs and
	// must be quick. Every rebalance revokes all partitions and assigns them anew.
	OnAssigned func(partitions map[string][]int32)
	OnRevoked  func(partitions map[string][]int32)
	// MaxRecords bounds a batch. Default 200.
	MaxRecords int
	// HandleTimeout bounds how long one batch is tried before it is given back. Default half of the rebalance timeout.
	HandleTimeout time.Duration
	// DrainTimeout bounds how long the batch in hand may go on after the order to stop. Default 10s.
	DrainTimeout time.Duration
	// CommitTimeout bounds a commit. Default 5s.
	CommitTimeout time.Duration
}

// Consumer reads topics as a member of a group. See the package comment for what it promises.
type Consumer struct {
	options    ConsumerOptions
	clientOpts []kgo.Opt
	log        *slog.Logger
	metrics    *metrics
	positions  positions
	// lookAgain is the constant; tests have more time.
	lookAgain time.Duration
	// blocked holds a token when a rebalance waits for the batch in hand. A stale token does no harm: all it can do is
	// to give a failing batch back early.
	blocked chan struct{}
	client  atomic.Pointer[kgo.Client]
}

// errTopicReplaced ends a client's life: a topic was deleted and made anew, and the client refuses the new one.
var errTopicReplaced = errors.New("a topic was deleted and made anew")

const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	// owedCommitPause is how long a poll waits for records before a commit that failed is tried again.
	owedCommitPause = time.Second
	// maxFetchBytes bounds a broker's answer, maxFetchPartitionBytes the part of one partition in it.
	maxFetchBytes, maxFetchPartitionBytes = 8 << 20, 1 << 20
	// maxFetchWait is how long a broker may hold an answer back while there is nothing to read. A client asks a broker once
	// at a time: partitions whose group has committed something are asked for at once, and the others, which are looked up
	// first, have to wait for the answer to that.
	maxFetchWait = 250 * time.Millisecond
)

// A broker answers a fetch as soon as there is one record, and it does so while the batch before is in hand: what came
// after that record is a fetch away. So a poll that finds such an answer looks again, or every other batch would hold
// hardly anything while all the rest wait for it. Measured with the embedded broker at 1,000 orders a second: an order
// takes half the time.
//
// lookAgain bounds the second look. A broker near by that has something answers sooner (1 and 5 ms did as well as 2); one
// that does not costs that much, and its small batch.
const lookAgain = 2 * time.Millisecond

// NewConsumer checks the options; Run does the work. The name is for logs and metrics and must be unique within the
// registry; reg may be nil.
func NewConsumer(
	config Config, name string, options ConsumerOptions, log *slog.Logger, reg prometheus.Registerer,
) (*Consumer, error) {
	config = config.withDefaults()
	if options.Group == "" || len(options.Topics) == 0 || options.Handle == nil {
		return nil, errors.New("making a Kafka consumer: Group, Topics and Handle are required")
	}
	options.MaxRecords = cmp.Or(options.MaxRecords, 200)
	options.HandleTimeout = cmp.Or(options.HandleTimeout, config.RebalanceTimeout/2)
	options.DrainTimeout = cmp.Or(options.DrainTimeout, 10*time.Second)
	options.CommitTimeout = cmp.Or(options.CommitTimeout, 5*time.Second)
	if options.HandleTimeout >= config.RebalanceTimeout {
		return nil, fmt.Errorf("making a Kafka consumer: HandleTimeout %s must be less than KAFKA_REBALANCE_TIMEOUT=%s",
			options.HandleTimeout, config.RebalanceTimeout)
	}
	opts, err := config.options(name, log, reg)
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		options:   options,
		log:       log.With("group", options.Group),
		metrics:   newMetrics(reg, name),
		lookAgain: lookAgain,
		blocked:   make(chan struct{}, 1),
	}
	c.clientOpts = append(opts,
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeTopics(options.Topics...),
		// Range, so that partition n of every topic goes to one member. All members of a group must use the same one.
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.DisableAutoCommit(),
		// What is fetched ahead waits in memory: one answer of each broker.
		kgo.FetchMaxBytes(maxFetchBytes),
		kgo.FetchMaxPartitionBytes(maxFetchPartitionBytes),
		kgo.FetchMaxWait(maxFetchWait),
		kgo.BlockRebalanceOnPoll(),
		// Never the end: what is left is read again, and repeats are harmless.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(config.SessionTimeout),
		kgo.RebalanceTimeout(config.RebalanceTimeout),
		kgo.HeartbeatInterval(config.SessionTimeout/10),
		kgo.OnPartitionsAssigned(c.onAssigned),
		kgo.OnPartitionsRevoked(c.onRevoked),
		kgo.OnPartitionsLost(c.onRevoked),
		kgo.AdjustFetchOffsetsFn(c.onOffsets),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) {
			select {
			case c.blocked <- struct{}{}:
			default:
			}
		}),
	)
	return c, nil
}

// Run consumes until ctx ends, drains and returns nil. It returns an error only if it cannot make a client; a broker
// that is away is waited for.
func (c *Consumer) Run(ctx context.Context) error {
	for try := 0; ; try++ {
		err := c.runClient(ctx)
		if ctx.Err() != nil || !errors.Is(err, errTopicReplaced) {
			return err
		}
		c.metrics.dataLoss.Inc()
		c.log.ErrorContext(ctx, "a topic was deleted and made anew; reading the new one from its start")
		c.pause(ctx, ctx, try)
	}
}

// Check says whether the broker answers; it is meant for readiness.
func (c *Consumer) Check(ctx context.Context) error {
	client := c.client.Load()
	if client == nil {
		return errors.New("the consumer is not running")
	}
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("reaching the Kafka broker: %w", err)
	}
	return nil
}

func (c *Consumer) runClient(ctx context.Context) error {
	clientCtx, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	client, err := kgo.NewClient(append(slices.Clone(c.clientOpts), kgo.WithContext(clientCtx))...)
	if err != nil {
		return fmt.Errorf("making a Kafka consumer: %w", err)
	}
	c.client.Store(client)
	owed := false   // a commit that failed and that the next one has not covered yet
	inHand := false // a batch that Handle has not returned from; it is only seen here when Handle panics
	defer func() {
		if owed && !inHand {
			_ = c.commitOwed(ctx, client) // logged; the batch comes again
		}
		client.AllowRebalance()
		c.leave(ctx, client)
		c.client.Store(nil)
		// Requests that a silent broker has not answered would keep Close waiting.
		abort()
		client.Close()
	}()
	var pacer pace.Pacer
	for fails := 0; ; {
		began := time.Now()
		records, fetchErr := c.poll(ctx, client, owed)
		polled := time.Now()
		if len(records) > 0 {
			inHand = true
			handled := c.handle(ctx, client, records)
			inHand = false
			if handled {
				owed = c.commit(ctx, client, records) != nil
				ended := time.Now()
				c.metrics.seconds.Observe(ended.Sub(polled).Seconds())
				client.AllowRebalance()
				pace.Wait(ctx, pacer.Pause(len(records), polled.Sub(began), ended.Sub(polled), ended))
			}
		} else if owed {
			owed = c.commitOwed(ctx, client) != nil
		}
		client.AllowRebalance()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(fetchErr, errTopicReplaced):
			return fetchErr
		case fetchErr != nil:
			c.pause(ctx, ctx, fails)
			fails++
		default:
			fails = 0
		}
	}
}

// poll waits for records; not for long while a commit is owed. Two looks are one batch: nothing is committed and no
// rebalance is allowed between them. The records of a partition stay in order, because there is no room for a second look
// when the first has left something behind. The error says that the caller should slow down.
func (c *Consumer) poll(ctx context.Context, client *kgo.Client, owed bool) ([]*kgo.Record, error) {
	if owed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, owedCommitPause)
		defer cancel()
	}
	answered := client.BufferedFetchRecords() > 0
	records, err := c.look(ctx, client, c.options.MaxRecords)
	room := c.options.MaxRecords - len(records)
	if !answered || room <= 0 || err != nil {
		return records, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.lookAgain)
	defer cancel()
	more, err := c.look(ctx, client, room)
	return append(records, more...), err
}

// look takes up to n records and notices what is amiss.
func (c *Consumer) look(ctx context.Context, client *kgo.Client, n int) ([]*kgo.Record, error) {
	fetches := client.PollRecords(ctx, n)
	err := c.inspect(ctx, fetches)
	records := fetches.Records()
	c.positions.follow(ctx, c, records)
	return records, err
}

// leave tells the group, so that others take over at once and not only when the session ends. A broker that does not
// answer is not waited for any longer than for a commit.
func (c *Consumer) leave(ctx context.Context, client *kgo.Client) {
	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.CommitTimeout)
	defer cancel()
	if err := client.LeaveGroupContext(leaveCtx); err != nil {
		c.log.WarnContext(ctx, "leaving the group failed; its partitions are idle until the session ends", "error", err)
	}
}

// handle tries the batch until it is applied, or gives it back and returns false.
func (c *Consumer) handle(ctx context.Context, client *kgo.Client, records []*kgo.Record) bool {
	work, cancel := afterwards(ctx, c.options.DrainTimeout)
	defer cancel()
	work, cancelTimeout := context.WithTimeout(work, c.options.HandleTimeout)
	defer cancelTimeout()
	for try := 0; ; try++ {
		err := c.options.Handle(work, records)
		if err == nil {
			c.metrics.batches.Inc()
			c.metrics.handled.Add(float64(len(records)))
			return true
		}
		c.metrics.handleFails.Inc()
		c.log.WarnContext(ctx, "handling a batch failed; it will be tried again",
			"records", len(records), "topic", records[0].Topic, "partition", records[0].Partition,
			"offset", records[0].Offset, "try", try+1, "error", err)
		if !c.pause(ctx, work, try) {
			break
		}
	}
	// Before the rebalance may go on, or the next commit would skip the batch; see the package comment.
	client.SetOffsets(c.positions.rewind(records))
	c.metrics.givenBack.Inc()
	return false
}

// pause waits a growing, jittered while. It returns false if there is no time for another try.
func (c *Consumer) pause(ctx, work context.Context, try int) bool {
	ceiling := min(maxPause, minPause<<min(try, 10))
	timer := time.NewTimer(ceiling/2 + rand.N(ceiling/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return work.Err() == nil
	case <-ctx.Done():
	case <-work.Done():
	case <-c.blocked:
	}
	return false
}

func (c *Consumer) commit(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	return c.commitWith(ctx, func(ctx context.Context) error { return client.CommitRecords(ctx, records...) })
}

// commitOwed commits what was handled and not committed. Batches that were given back are not among it.
func (c *Consumer) commitOwed(ctx context.Context, client *kgo.Client) error {
	return c.commitWith(ctx, client.CommitUncommittedOffsets)
}

// commitWith gives the commit a time of its own: a commit without one would hold up the whole group for ever, and one
// that ends with ctx would never reach the broker during a drain.
func (c *Consumer) commitWith(ctx context.Context, commit func(context.Context) error) error {
	commitCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.CommitTimeout)
	defer cancel()
	err := commit(commitCtx)
	if err == nil {
		err = crash.Fail(crash.ConsumerAfterOffsets)
	}
	if err != nil {
		c.metrics.commitFails.Inc()
		c.log.WarnContext(ctx, "committing offsets failed; the next commit covers them, or the batch comes again",
			"error", err)
	}
	return err
}

// inspect logs what a poll reported besides records. It returns an error if the caller should slow down.
func (c *Consumer) inspect(ctx context.Context, fetches kgo.Fetches) error {
	var slowDown error
	fetches.EachError(func(topic string, partition int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return // of the poll itself
		}
		log := c.log.With("topic", topic, "partition", partition, "error", err)
		if _, lost := errors.AsType[*kgo.ErrDataLoss](err); lost {
			// The client has set itself back already.
			c.metrics.dataLoss.Inc()
			c.positions.forget(topic, partition)
			log.ErrorContext(ctx, "the broker lost records; going on with what is left")
			return
		}
		c.metrics.fetchFails.Inc()
		if errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kgo.ErrClientClosed) {
			slowDown = errTopicReplaced
			return
		}
		if slowDown == nil {
			slowDown = err
		}
		log.WarnContext(ctx, "fetching failed; trying again")
	})
	return slowDown
}

func (c *Consumer) onAssigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	if len(partitions) > 0 && c.options.OnAssigned != nil {
		c.options.OnAssigned(partitions)
	}
}

func (c *Consumer) onRevoked(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	c.positions.forgetAll(partitions)
	if len(partitions) > 0 && c.options.OnRevoked != nil {
		c.options.OnRevoked(partitions)
	}
}

// onOffsets learns from which offsets the group goes on; it changes nothing about them.
func (c *Consumer) onOffsets(
	_ context.Context, offsets map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	c.positions.start(offsets)
	return offsets, nil
}

// afterwards is a context that ends the given time after ctx does.
func afterwards(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-later.Done():
		}
	})
	return later, func() {
		stop()
		cancel()
	}
}
