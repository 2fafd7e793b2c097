package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/message"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// batchPoints are met by every order. The others are met in the system's own test, in services/standalone/system.
var batchPoints = []crash.Name{
	crash.CoordinatorAfterPoll, crash.CoordinatorAfterScan, crash.CoordinatorAfterLoad, crash.CoordinatorAfterDecide,
	crash.CoordinatorAfterCommit, crash.CoordinatorAfterAnnounce, crash.CoordinatorAfterProduce,
	crash.CoordinatorBeforeOffsets,
	crash.CoordinatorBeforeAcceptCommit, crash.CoordinatorAfterAcceptCommit, crash.CoordinatorBeforeAnswer,
	crash.CoordinatorAfterLateProduce, crash.CoordinatorAfterEvents, crash.CoordinatorAfterMark,
}

// TestCrash kills a coordinator, a process of its own, at each point of a batch, while orders come in and go back and
// forth. The next one must bring every order to its end, and nothing may happen twice.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills processes")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "coordinator")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", binary, "./cmd/coordinator")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, point := range batchPoints {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			crashAt(t, binary, point)
		})
	}
}

func crashAt(t *testing.T, binary string, point crash.Name) {
	t.Helper()
	s := newSystem(t)
	s.world.answer(func(c command) *sagav1.Reply {
		if c.key() == "create_shipment/do" && strings.HasSuffix(c.GetOrderId(), "0") {
			return refusal("address_not_served") // about every sixteenth order goes back
		}
		return nil
	})
	hit := 4
	switch point {
	case crash.CoordinatorBeforeAcceptCommit, crash.CoordinatorAfterAcceptCommit,
		crash.CoordinatorBeforeAnswer, crash.CoordinatorAfterLateProduce, crash.CoordinatorAfterEvents:
		hit = 2 // many orders are taken, answered and announced at a time
	case crash.CoordinatorAfterMark:
		hit = 1 // once a second
	}
	p := s.spawn(t, binary, fmt.Sprintf("%s=%s:%d", crash.EnvVar, point, hit))
	const orders = 25
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		ids   = map[uuid.UUID]bool{}
		again = make(chan struct{})
		next  atomic.Pointer[process]
	)
	next.Store(p)
	go func() {
		defer close(again)
		if code := p.wait(); code != crash.ExitCode {
			t.Errorf("status %d: the point was not met", code)
		}
		next.Store(s.spawn(t, binary))
	}()
	// A shop that does not know repeats its request.
	place := func(key string) {
		for {
			id, err := s.tryOrder(t.Context(), next.Load().addr, key)
			if err == nil {
				mu.Lock()
				ids[id] = true
				mu.Unlock()
				return
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-t.Context().Done():
				return
			}
		}
	}
	// The first comes alone: the others may all be taken in one transaction, and some points are met at the second.
	place("k0")
	for i := 1; i < orders; i++ {
		wg.Go(func() { place(fmt.Sprint("k", i)) })
	}
	wg.Wait()
	<-again
	p = next.Load()
	require.Len(t, ids, orders, "one order for each key")
	n := p.node(t)
	for id := range ids {
		n.awaitEnd(id)
	}
	// Whatever was sent again was sent under the same effect key, for every step.
	undone := 0
	for id := range ids {
		o := n.order(id)
		for _, e := range o.Effects {
			switch string(o.Status) {
			case "cancelled":
				require.Equal(t, "released", string(e.State))
			case "completed":
				require.NotEqual(t, "released", string(e.State))
			}
		}
		if o.Status == "cancelled" {
			undone++
		}
		for _, key := range []string{"reserve_stock/do", "authorize_payment/do", "create_shipment/do", "capture_payment/do"} {
			for _, c := range s.world.received(id, key) {
				require.Equal(t, uint32(1), c.GetGeneration())
			}
		}
	}
	// Every order's events are there; those that came twice have the same id.
	ends := map[string]string{}
	require.Eventually(t, func() bool {
		for _, r := range s.consumeEvents(t, orders*2) {
			envelope, _, err := message.Decode(r)
			require.NoError(t, err)
			if strings.HasSuffix(envelope.Type, "OrderCompleted") || strings.HasSuffix(envelope.Type, "OrderCancelled") {
				if id, twice := ends[envelope.Subject]; twice {
					require.Equal(t, id, envelope.ID)
				}
				ends[envelope.Subject] = envelope.ID
			}
		}
		return len(ends) == orders
	}, 2*waitFor, 500*time.Millisecond)
	p.terminate()
	require.Zero(t, p.wait())
}

// process is a coordinator in a process of its own.
type process struct {
	addr string
	cmd  *exec.Cmd
	done chan struct{}
	log  *strings.Builder
}

func (s *system) spawn(t *testing.T, binary string, env ...string) *process {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &process{addr: listener.Addr().String(), done: make(chan struct{}), log: &strings.Builder{}}
	require.NoError(t, listener.Close())
	p.cmd = exec.Command(binary, "serve")
	p.cmd.Env = append(os.Environ(), append(env,
		"DATABASE_URL="+s.url, "HTTP_ADDR="+p.addr, "LOG_LEVEL=warn",
		"RECOURSE_MODE=development", "KAFKA_BROKERS="+strings.Join(s.config.Kafka.Brokers, ","),
		"KAFKA_TOPIC_PREFIX="+s.config.Kafka.TopicPrefix,
		"KAFKA_PARTITIONS="+strconv.Itoa(int(s.config.Kafka.Partitions)), "KAFKA_SESSION_TIMEOUT=6s",
		// So few that replies mostly go in two lanes: one may commit while the process dies in the other.
		"MAX_BATCH=2",
		"ANSWER_TIMEOUT=300ms", "OUTSIDE_TIMEOUT=300ms", "RESEND_MAX=300ms", "GIVE_UP=1000", "SCAN_INTERVAL=500ms",
	)...)
	p.cmd.Stderr = p.log
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

// wait returns the status; a process that does not end is killed, which is no status at all.
func (p *process) wait() int {
	select {
	case <-p.done:
	case <-time.After(waitFor):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// node talks to the process.
func (p *process) node(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, base: "http://" + p.addr, spec: mustSpec(t), http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(n.http.CloseIdleConnections)
	require.EventuallyWithT(t, func(t *assertT) {
		response, err := n.http.Get(n.base + "/readyz")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}, waitFor, 50*time.Millisecond)
	return n
}

var errNotTaken = errors.New("not taken")

// tryOrder posts an order as a shop would; any failure is one to repeat.
func (s *system) tryOrder(ctx context.Context, addr, key string) (uuid.UUID, error) {
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/orders", strings.NewReader(mustJSON(newOrder())))
	if err != nil {
		return uuid.Nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	request.Close = true
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return uuid.Nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return uuid.Nil, errNotTaken
	}
	return uuid.Parse(response.Header.Get("Location")[len("/v1/orders/"):])
}
