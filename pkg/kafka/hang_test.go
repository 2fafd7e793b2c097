package kafka_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

// gate lets a broker's reads through or holds them up, as a stopped process or a network that drops packets does: the
// connections stand, and nothing comes back.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	shut bool
}

func newGate() *gate {
	g := &gate{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.cond.Broadcast()
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.cond.Wait()
	}
}

func (g *gate) listen(network, _ string) (net.Listener, error) {
	listener, err := net.Listen(network, "127.0.0.1:0")
	return gatedListener{listener, g}, err
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return gatedConn{conn, l.gate}, err
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.pass()
	return n, err
}

// A broker that hangs holds up neither a produce, nor the end of the process, and everything goes on when it is back.
func TestBroker_hangs(t *testing.T) {
	t.Parallel()
	g := newGate()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(g.listen))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	t.Cleanup(func() { g.set(false) })
	config := kafka.Config{Brokers: cluster.ListenAddrs(), Partitions: 4, DeliveryTimeout: time.Second}
	topic := config.Topics().CommandTopic("a")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	producer := mustProducer(t, config)
	var j journal
	options := journalOptions(config, &j)
	options.CommitTimeout = time.Second
	first := start(t, config, options)
	require.NoError(t, kafka.Produce(t.Context(), producer, numbered(topic, 0, 100)))
	require.EventuallyWithT(t, func(a *assertT) { require.Len(a, j.distinct(), 100) }, wait, 50*time.Millisecond)

	g.set(true)
	began := time.Now()
	require.Error(t, kafka.Produce(t.Context(), producer, numbered(topic, 100, 110)))
	require.Less(t, time.Since(began), 5*time.Second)
	began = time.Now()
	first.stop(t)
	require.Less(t, time.Since(began), 5*time.Second)

	g.set(false)
	start(t, config, options)
	require.EventuallyWithT(t, func(a *assertT) {
		require.NoError(a, kafka.Produce(t.Context(), producer, numbered(topic, 100, 200)))
	}, wait, 100*time.Millisecond)
	require.EventuallyWithT(t, func(a *assertT) { require.Equal(a, upTo(200), j.distinct()) }, wait, 50*time.Millisecond)
}
