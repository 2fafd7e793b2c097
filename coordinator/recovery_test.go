package coordinator_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

func TestRestart_goes_on(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	s.world.answer(mute("authorize_payment/do"))
	first := s.start(t)
	var ids []uuid.UUID
	for i := range 10 {
		ids = append(ids, first.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	for _, id := range ids {
		first.awaitStatus(id, "processing")
	}
	first.stop()
	// Nobody answered, and nobody will unless the new one asks again by itself.
	s.world.answer(nil)
	second := s.start(t)
	for _, id := range ids {
		o := second.awaitStatus(id, "completed")
		require.Nil(t, o.Attention)
	}
}

func TestTwoCoordinators_share_the_work(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	// Every third command is not answered the first time, so that timers have work too.
	var (
		mu   sync.Mutex
		seen = map[string]int{}
	)
	s.world.answer(func(c command) *sagav1.Reply {
		mu.Lock()
		defer mu.Unlock()
		key := c.GetSagaId() + c.key()
		seen[key]++
		if seen[key] == 1 && len(seen)%3 == 0 {
			return silence
		}
		return nil
	})
	nodes := []*node{s.start(t), s.start(t)}
	var ids []uuid.UUID
	for i := range 40 {
		ids = append(ids, nodes[i%2].submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	for i, id := range ids {
		if i == 20 {
			nodes[1].stop()
		}
		nodes[0].awaitStatus(id, "completed")
	}
}

func TestDeadline_undoes(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	s.world.answer(mute("create_shipment/do"))
	n := s.start(t)
	id := n.submit("k", newOrder(map[string]any{"deadline_seconds": 1})).ID
	o := n.awaitStatus(id, "cancelled")
	require.Equal(t, "deadline", string(o.Cause.Kind))
}

func TestGiveUp_undoes(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.world.answer(mute("create_shipment/do"))
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	o := n.awaitStatus(id, "cancelled")
	require.Equal(t, "no_answer", string(o.Cause.Kind))
	sends := s.world.received(id, "create_shipment/do")
	require.Len(t, sends, int(s.config.GiveUp))
	require.Equal(t, uint32(5), sends[4].GetAttempt())
}

func TestUnknownDefinition_is_left_alone(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	s.world.answer(mute("authorize_payment/do"))
	n := s.start(t)
	id := n.submit("k", newOrder()).ID
	n.awaitStatus(id, "processing")
	n.stop()
	pool := pgtest.Pool(t, s.url)
	_, err := pool.Exec(t.Context(), "UPDATE saga SET definition = 42")
	require.NoError(t, err)
	n = s.start(t)
	probe := n.submit("probe", newOrder()).ID
	// By then the stranger's timers have been due many times.
	require.Eventually(t, func() bool { return len(s.world.received(probe, "authorize_payment/do")) > 3 }, waitFor, tick)
	c := s.world.first(id, "authorize_payment/do")
	s.world.answer(nil)
	s.world.send(c, success(c))
	n.awaitStatus(probe, "completed")
	o := n.order(id)
	require.Equal(t, "processing", string(o.Status))
	require.Contains(t, o.Explanation.Summary, "does not know")
	require.Empty(t, s.world.received(id, "create_shipment/do"))
	require.Equal(t, http.StatusServiceUnavailable, n.cancel(id, nil).Status)
	var v coordinatorapi.Saga
	n.call("GET", "/v1/sagas/"+id.String(), nil, nil).into(t, &v)
	require.False(t, v.Definition.Known)
	require.Contains(t, string(n.call("GET", "/metrics", nil, nil).Body), `outcome="unknown_definition"`)
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := newSystem(t, patient)
	where, err := url.Parse(s.url)
	require.NoError(t, err)
	p := startProxy(t, where.Host)
	where.Host = p.addr
	s.config.DatabaseURL = service.Secret(where.String())
	s.world.answer(mute("authorize_payment/do"))
	n := s.start(t)
	id := n.submit("before", newOrder()).ID
	n.awaitStatus(id, "processing")
	p.set(false)
	a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": "during"})
	require.Equal(t, http.StatusServiceUnavailable, a.Status, string(a.Body))
	require.Equal(t, "unavailable", a.code(t))
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, http.StatusServiceUnavailable, n.call("GET", "/v1/orders/"+id.String(), nil, nil).Status)
	require.Equal(t, http.StatusServiceUnavailable, n.cancel(id, nil).Status)
	require.Equal(t, http.StatusServiceUnavailable, n.call("GET", "/readyz", nil, nil).Status)
	require.Equal(t, http.StatusOK, n.call("GET", "/livez", nil, nil).Status)
	// An answer that comes meanwhile waits; nothing is parked.
	s.world.answer(nil)
	c := s.world.first(id, "authorize_payment/do")
	s.world.send(c, success(c))
	p.set(true)
	n.awaitStatus(id, "completed")
	n.awaitStatus(n.submit("during", newOrder()).ID, "completed")
	var page coordinatorapi.DeadLetterPage
	n.call("GET", "/v1/dead-letters", nil, nil).into(t, &page)
	require.Empty(t, page.DeadLetters)
}

// onOwnBroker gives the system a broker that the test can stop and start again.
func onOwnBroker(t *testing.T, dir string) (change func(*coordinator.Config), restart func(dir string)) {
	t.Helper()
	if os.Getenv("KAFKA_BROKERS") != "" {
		t.Skip("this test stops its broker")
	}
	broker, err := embedded.Start(embedded.Options{DataDir: dir})
	require.NoError(t, err)
	addr := broker.Addrs()[0]
	t.Cleanup(func() { broker.Close() })
	change = func(c *coordinator.Config) { c.Kafka.Brokers = []string{addr} }
	return change, func(dir string) {
		broker.Close()
		if dir != "" {
			broker, err = embedded.Start(embedded.Options{DataDir: dir, Addr: addr})
			require.NoError(t, err)
		}
	}
}

func TestBrokerAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	change, restart := onOwnBroker(t, dir)
	s := newSystem(t, change)
	s.world.answer(mute("create_shipment/do"))
	n := s.start(t)
	id := n.submit("before", newOrder()).ID
	require.Eventually(t, func() bool { return len(s.world.received(id, "create_shipment/do")) > 0 }, waitFor, tick)
	restart("")
	// Until the absence is noticed orders are taken, and none of them is lost; after that they are refused.
	var taken []uuid.UUID
	require.EventuallyWithT(t, func(t *assertT) {
		a := n.call("POST", "/v1/orders", newOrder(), headers{"Idempotency-Key": uuid.NewString()})
		if a.Status == http.StatusAccepted {
			var r coordinatorapi.OrderReceipt
			require.NoError(t, jsonInto(a.Body, &r))
			taken = append(taken, r.ID)
		}
		require.Equal(t, http.StatusServiceUnavailable, a.Status)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	}, waitFor, 500*time.Millisecond)
	require.NotEmpty(t, taken)
	s.world.answer(nil)
	restart(dir)
	for _, id := range append(taken, id) {
		n.awaitEnd(id)
	}
}

func TestBrokerWiped(t *testing.T) {
	t.Parallel()
	change, restart := onOwnBroker(t, t.TempDir())
	s := newSystem(t, change, patient)
	s.world.answer(func(command) *sagav1.Reply { return silence })
	n := s.start(t)
	var ids []uuid.UUID
	for i := range 5 {
		ids = append(ids, n.submit(fmt.Sprint("k", i), newOrder()).ID)
	}
	restart("")
	restart(t.TempDir())
	require.NoError(t, coordinator.Migrate(t.Context(), s.config, kafkatest.Log(t)))
	s.world.answer(nil)
	for _, id := range ids {
		n.awaitStatus(id, "completed")
	}
}

// proxy is a TCP proxy that can be switched off.
type proxy struct {
	addr, target string
	mu           sync.Mutex
	on           bool
	open         map[net.Conn]struct{}
	wg           sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String(), target: target, on: true, open: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.set(false)
		p.wg.Wait()
	})
	return p
}

func (p *proxy) pass(conn net.Conn) {
	defer conn.Close()
	if !p.keep(conn) {
		return
	}
	back, err := net.DialTimeout("tcp", p.target, time.Second)
	if err != nil || !p.keep(back) {
		return
	}
	defer back.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(back, conn)
		_ = back.Close()
	}()
	_, _ = io.Copy(conn, back)
	_ = conn.Close()
	<-done
}

func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.open[conn] = struct{}{}
	}
	return p.on
}

func (p *proxy) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
	if !on {
		for conn := range p.open {
			_ = conn.Close()
		}
		p.open = map[net.Conn]struct{}{}
	}
}

func TestResend_is_held_back_while_the_command_is_queued(t *testing.T) {
	t.Parallel()
	s := newSystem(t, func(c *coordinator.Config) { c.GiveUp, c.AnswerTimeout = 1000, 1500*time.Millisecond })
	busy := make(chan struct{})
	release := sync.OnceFunc(func() { close(busy) })
	defer release()
	s.world.answer(func(c command) *sagav1.Reply {
		if c.key() == "reserve_stock/do" {
			<-busy
		}
		return nil
	})
	n := s.start(t)
	// Two orders of one partition: the participant works on the first and has not read the second.
	first := n.submit("k0", newOrder()).ID
	require.Eventually(t, func() bool { return len(s.world.received(first, "reserve_stock/do")) > 0 }, waitFor, tick)
	var ids []uuid.UUID
	for i := range 8 {
		ids = append(ids, n.submit(fmt.Sprint("k", i+1), newOrder()).ID)
	}
	// Several waits for an answer go by.
	require.Never(t, func() bool { return n.order(ids[0]).Explanation.Waiting[0].Attempts > 1 }, 4*time.Second, 100*time.Millisecond)
	release()
	for _, id := range append(ids, first) {
		n.awaitStatus(id, "completed")
		require.Len(t, s.world.received(id, "reserve_stock/do"), 1)
	}
}
