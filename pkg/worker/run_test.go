package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// participant is a worker on a broker, with a coordinator's ends of its topics.
type participant struct {
	kit      *workertest.Kit
	cfg      worker.Config
	producer *kgo.Client
	replies  *kgo.Client
	seen     []*sagav1.Reply
	registry *prometheus.Registry
}

func newParticipant(t *testing.T, kit *workertest.Kit) *participant {
	t.Helper()
	config := kafkatest.Config(t, "participant.commands.v1", "participant.replies.v1")
	producer, err := kafka.NewProducer(config, "coordinator", kafkatest.Log(t), nil)
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	replies, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...),
		kgo.ConsumeTopics(config.Topics().ReplyTopic("participant")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	t.Cleanup(replies.Close)
	return &participant{
		kit:      kit,
		producer: producer,
		replies:  replies,
		registry: prometheus.NewRegistry(),
		cfg: worker.Config{
			Participant: "participant", Kafka: config, DrainTimeout: 10 * time.Second,
			ProbeEvery: 20 * time.Millisecond, ProbeDelays: []time.Duration{20 * time.Millisecond},
		},
	}
}

// run starts a worker and returns the function that stops it and waits for it.
func (p *participant) run(t *testing.T, register func(*worker.Worker)) (stop func()) {
	t.Helper()
	w, err := worker.New(p.cfg, p.kit.Pool, kafkatest.Log(t), p.registry)
	require.NoError(t, err)
	register(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	return stop
}

func (p *participant) send(t *testing.T, commands ...worker.Input) {
	t.Helper()
	var records []*kgo.Record
	for _, command := range commands {
		meta := command.GetMeta()
		record, err := message.Encode(p.cfg.Kafka.Topics().CommandTopic("participant"), meta.GetOrderId(), message.Event{
			Source: "coordinator", Subject: meta.GetOrderId(), CorrelationID: meta.GetSagaId(), Data: command,
		})
		require.NoError(t, err)
		records = append(records, record)
	}
	require.NoError(t, kafka.Produce(t.Context(), p.producer, records))
}

// await reads replies until there are so many.
func (p *participant) await(t *testing.T, n int) []*sagav1.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(p.seen) < n {
		fetches := p.replies.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%d of %d replies came: %v", len(p.seen), n, p.seen)
		for _, record := range fetches.Records() {
			_, data, err := message.Decode(record)
			require.NoError(t, err)
			p.seen = append(p.seen, data.(*sagav1.Reply))
		}
	}
	return p.seen
}

func TestRun_end_to_end(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	p := newParticipant(t, kit)
	stop := p.run(t, registerShelf)
	var commands []worker.Input
	for range 50 {
		do := reserve(skuPlain, 1)
		commands = append(commands, do, workertest.Again(t, do))
	}
	p.send(t, commands...)
	for _, reply := range p.await(t, 100) {
		require.NotNil(t, reply.GetDone())
	}
	require.Equal(t, 50, holds(t, kit.Pool))
	stop()

	// Offsets were committed: another worker begins where the first one stopped.
	p.seen = nil
	p.run(t, registerShelf)
	p.send(t, reserve(skuNone, 1))
	require.Equal(t, []string{"do refused 1"}, summaries(p.await(t, 1)))
	counted, err := testutil.GatherAndCount(p.registry, "recourse_worker_commands_total")
	require.NoError(t, err)
	require.Equal(t, 2, counted, "one type, verdicts run_do and repeat_reply, over both lives of the worker")
}

func TestRun_in_doubt_is_resolved_and_spoken_about(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	p := newParticipant(t, kit)
	p.run(t, registerTill(g))
	p.send(t, authorize(tokenLost))
	require.Equal(t, []string{"do in_doubt 0", "do done 1"}, summaries(p.await(t, 2)))
}

// A call that is on its way when the order to stop comes is waited for, settled and answered.
func TestRun_drain(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.held = make(chan struct{})
	p := newParticipant(t, kit)
	stop := p.run(t, registerTill(g))
	do := authorize(tokenPlain)
	p.send(t, do)
	<-g.arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	require.Never(t, func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	}, 300*time.Millisecond, 20*time.Millisecond, "the worker waits for the call")
	close(g.held)
	<-stopped
	require.Equal(t, []string{"do done 1"}, summaries(p.await(t, 1)))
	require.Equal(t, worker.StateDone, kit.State(t, do))
}

// A call that is not answered in time stays in doubt, and the next process asks.
func TestRun_drain_has_an_end(t *testing.T) {
	t.Parallel()
	kit, g := newTill(t)
	g.held = make(chan struct{})
	p := newParticipant(t, kit)
	p.cfg.DrainTimeout = 200 * time.Millisecond
	stop := p.run(t, registerTill(g))
	do := authorize(tokenPlain)
	p.send(t, do)
	<-g.arrived
	stop()
	require.Equal(t, worker.StateInDoubt, kit.State(t, do))
	close(g.held)
	require.Equal(t, []string{"do done 1"}, summaries(kit.Resolve(t)))
}

func TestRun_needs_a_handler(t *testing.T) {
	t.Parallel()
	kit := newShelf(t)
	w, err := worker.New(worker.Config{Participant: "idle"}, kit.Pool, kafkatest.Log(t), nil)
	require.NoError(t, err)
	require.ErrorContains(t, w.Run(t.Context()), "no handler is registered")
	require.ErrorContains(t, w.Check(t.Context()), "not running")
}

func summary(reply *sagav1.Reply) string {
	operation := map[worker.Operation]string{worker.OpDo: "do", worker.OpUndo: "undo"}[reply.GetOperation()]
	var outcome string
	switch o := reply.GetOutcome().(type) {
	case *sagav1.Reply_Done:
		outcome = "done"
	case *sagav1.Reply_Refused:
		outcome = "refused"
	case *sagav1.Reply_Retry:
		outcome = "retry"
	case *sagav1.Reply_InDoubt:
		outcome = "in_doubt"
	case *sagav1.Reply_Undone:
		outcome = "undone"
		if o.Undone.GetNothing() {
			outcome = "nothing"
		}
	case *sagav1.Reply_Fenced:
		outcome = "fenced"
	}
	return fmt.Sprintf("%s %s %d", operation, outcome, reply.GetEffectSeq())
}
