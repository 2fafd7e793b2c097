package system_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator/order"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/message"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// packet is one record between coordinator and participants.
type packet struct {
	order, step string
	op          sagav1.Operation
	attempt     uint32
	// reply is nil for a command.
	reply *sagav1.Reply
	// participant names the far end.
	participant string
	record      *kgo.Record
}

func (p *packet) isUndo() bool { return p.op == sagav1.Operation_OPERATION_UNDO }

// fate is what the network does to a packet.
type fate int

const (
	pass fate = iota
	drop
	hold
)

// rule decides about the packets of one order, in the order of their arrival.
type rule func(p *packet) fate

// network forwards between the coordinator's topics and the participants'. The
// packets of an order wait until its rule is known, so no test races its own
// order.
type network struct {
	t            testing.TB
	near, far    kafka.Topics
	participants []string
	client       *kgo.Client

	mu      sync.Mutex
	rules   map[string]rule
	waiting map[string][]*packet
	held    map[string][]*packet
	// shuffle sends every packet twice, after random delays, whatever the rules say.
	shuffle bool
	wg      sync.WaitGroup
}

func newNetwork(t testing.TB, config kafka.Config, near, far string, shuffle bool) *network {
	t.Helper()
	definitions, err := order.Definitions(order.DefaultTiming)
	require.NoError(t, err)
	n := &network{
		t: t, near: kafka.Topics(near), far: kafka.Topics(far), shuffle: shuffle,
		participants: order.Participants(definitions),
		rules:        map[string]rule{}, waiting: map[string][]*packet{}, held: map[string][]*packet{},
	}
	topics := []string{n.near.OrderEventsTopic()}
	for _, p := range n.participants {
		topics = append(topics, n.near.CommandTopic(p), n.far.ReplyTopic(p))
	}
	n.client, err = kgo.NewClient(
		kgo.SeedBrokers(config.Brokers...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond),
	)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		n.wg.Wait()
		n.client.Close()
	})
	return n
}

func (n *network) run(ctx context.Context) {
	for ctx.Err() == nil {
		n.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { n.arrive(ctx, r) })
	}
}

func (n *network) arrive(ctx context.Context, r *kgo.Record) {
	if r.Topic == n.near.OrderEventsTopic() {
		n.deliver(ctx, n.far.OrderEventsTopic(), r)
		return
	}
	p := n.open(r)
	if n.shuffle {
		for range 2 {
			delay := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
			n.wg.Go(func() {
				select {
				case <-time.After(delay):
				case <-ctx.Done():
				}
				n.deliver(ctx, n.target(p), r)
			})
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	rule, known := n.rules[p.order]
	if !known {
		n.waiting[p.order] = append(n.waiting[p.order], p)
		return
	}
	n.judge(ctx, rule, p)
}

// judge runs with the lock held, so that the packets of an order stay in order.
func (n *network) judge(ctx context.Context, rule rule, p *packet) {
	switch rule(p) {
	case pass:
		n.deliver(ctx, n.target(p), p.record)
	case hold:
		n.held[p.order] = append(n.held[p.order], p)
	case drop:
	}
}

// obey makes the rule of an order known and lets go what waited for it.
func (n *network) obey(order string, rule rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules[order] = rule
	for _, p := range n.waiting[order] {
		n.judge(context.Background(), rule, p)
	}
	delete(n.waiting, order)
}

// release delivers what is held of an order, and passes everything from now on.
func (n *network) release(order string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.held[order] {
		n.deliver(context.Background(), n.target(p), p.record)
	}
	delete(n.held, order)
	n.rules[order] = func(*packet) fate { return pass }
}

// holds counts what is held of an order.
func (n *network) holds(order string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.held[order])
}

// forge answers a command in the participant's name.
func (n *network) forge(p *packet, reply *sagav1.Reply) {
	reply.SagaId, reply.OrderId, reply.Step, reply.Operation = p.order, p.order, p.step, p.op
	reply.Generation, reply.Attempt, reply.Worker = 1, p.attempt, "forged"
	r, err := message.Encode(n.near.ReplyTopic(p.participant), p.order, message.Event{
		Source: "participant/" + p.participant, Subject: p.order, CorrelationID: p.order, Time: time.Now(), Data: reply,
	})
	if err == nil {
		err = n.client.ProduceSync(context.Background(), r).FirstErr()
	}
	if err != nil {
		n.t.Errorf("forging a reply: %v", err)
	}
}

func (n *network) deliver(ctx context.Context, topic string, r *kgo.Record) {
	out := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
	if err := n.client.ProduceSync(ctx, out).FirstErr(); err != nil && ctx.Err() == nil {
		n.t.Errorf("forwarding to %s: %v", topic, err)
	}
}

func (n *network) target(p *packet) string {
	if p.reply != nil {
		return n.near.ReplyTopic(p.participant)
	}
	return n.far.CommandTopic(p.participant)
}

func (n *network) open(r *kgo.Record) *packet {
	_, m, err := message.Decode(r)
	if err != nil {
		n.t.Errorf("reading %s: %v", r.Topic, err)
	}
	p := &packet{record: r, order: string(r.Key)}
	for _, name := range n.participants {
		if r.Topic == n.near.CommandTopic(name) || r.Topic == n.far.ReplyTopic(name) {
			p.participant = name
		}
	}
	switch m := m.(type) {
	case *sagav1.Reply:
		p.reply, p.step, p.op, p.attempt = m, m.GetStep(), m.GetOperation(), m.GetAttempt()
	case interface{ GetMeta() *sagav1.CommandMeta }:
		p.step, p.op, p.attempt = m.GetMeta().GetStep(), m.GetMeta().GetOperation(), m.GetMeta().GetAttempt()
	default:
		n.t.Errorf("%s: neither command nor reply: %s", r.Topic, proto.MessageName(m))
	}
	return p
}

// of limits a fate to one step and operation of commands or replies.
func of(step string, op sagav1.Operation, replies bool, f fate) rule {
	return func(p *packet) fate {
		if p.step == step && p.op == op && (p.reply != nil) == replies {
			return f
		}
		return pass
	}
}
