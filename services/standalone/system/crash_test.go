package system_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"recourse.dev/pkg/crash"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/audit"
	"recourse.dev/services/standalone/stack"
)

// callPoints are met only by participants that call a provider.
var callPoints = []crash.Name{crash.WorkerAfterCall, crash.WorkerBeforeSettleCommit, crash.WorkerAfterSettleCommit}

// victim is a member that is to die at a point.
type victim struct {
	name string
	// points to die at, one a round.
	points []crash.Name
}

func victims() []victim {
	var ours, workers, local []crash.Name
	for _, point := range crash.Points() {
		switch {
		case strings.HasPrefix(string(point), "coordinator."):
			ours = append(ours, point)
		case slices.Contains(callPoints, point):
			workers = append(workers, point)
		default:
			workers, local = append(workers, point), append(local, point)
		}
	}
	return []victim{{stack.Coordinator, ours}, {stack.Inventory, local}, {stack.Payment, workers}, {stack.Shipping, workers}}
}

// In every round the coordinator, inventory, payment and shipping die at one of
// their points, each on its own, with orders under way that go forward and
// back; what a round leaves open is under way in the next. The shop repeats what
// nobody answered. After every round the books agree, and in the end nothing is
// lost and nothing doubled.
func TestCrash_BetweenAnyTwoLinesOfABatch(t *testing.T) {
	t.Parallel()
	c := &casualties{struck: map[string]int{}}
	c.platform = start(t, func(o *stack.Options) {
		withPatience(o)
		o.Executable = deadly(t)
		// A call that died with its process is asked about again when it must have ended; short ones are over soon.
		o.Env = append(o.Env, "ANSWER_TIMEOUT=600ms", "OUTSIDE_TIMEOUT=1200ms", "RESEND_MAX=600ms",
			"GATEWAY_TIMEOUT=700ms", "CARRIER_TIMEOUT=700ms", "SLOW_DELAY=400ms")
		if len(o.Brokers) == 0 {
			o.Env = append(o.Env, "KAFKA_SESSION_TIMEOUT=1s") // how long the next one waits for a dead one's partitions
		}
		for _, v := range victims() {
			o.OwnProcess = append(o.OwnProcess, v.name)
		}
	})
	c.sell("SKU-MUG", 1000)
	c.sell("SKU-GONE", 0)
	begin := time.Now()
	for round := range 10 {
		c.round(round)
		t.Logf("round %d after %.1f s: %d orders", round, time.Since(begin).Seconds(), len(c.orders))
	}
	for _, o := range c.orders {
		require.Contains(t, o.outcomes, outcome(c.until(o.id, "to end", ended)), o.id)
	}
	c.addsUp(len(c.orders))
	c.nothingParked()
	for _, v := range victims() {
		for _, point := range v.points {
			require.NotZero(t, c.struck[v.name+" "+string(point)], "%s never died at %s", v.name, point)
		}
	}
}

// deadly builds the binary that can be killed at named points.
func deadly(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recourse")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", path, "recourse.dev/services/standalone")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// casualties is one platform whose members die.
type casualties struct {
	*platform
	// struck counts deaths by member and point.
	struck map[string]int
	orders []placement
}

// round lets each member die at its point of the round and starts it again.
func (c *casualties) round(n int) {
	var dying []victim
	for _, v := range victims() {
		if n < len(v.points) {
			dying = append(dying, victim{v.name, v.points[n : n+1]})
		}
	}
	var armed errgroup.Group
	for _, v := range dying {
		armed.Go(func() error {
			if err := c.Halt(c.t.Context(), v.name); err != nil {
				return err
			}
			err := c.Restart(c.t.Context(), v.name, fmt.Sprintf("%s=%s:%d", crash.EnvVar, v.points[0], 1+n%2))
			if c.ExitStatus(v.name) == crash.ExitCode {
				return nil // at what the round before had left, and before it was ready
			}
			return err
		})
	}
	require.NoError(c.t, armed.Wait())

	// Orders keep coming until everybody has died and is back.
	var deaths errgroup.Group
	for _, v := range dying {
		deaths.Go(func() error { return c.bury(v) })
	}
	back := make(chan error, 1)
	go func() { back <- deaths.Wait() }()
	for i, over := 0, false; !over || i < len(mix); i++ {
		c.orders = append(c.orders, c.shop(mix[i%len(mix)]))
		select {
		case err := <-back:
			require.NoError(c.t, err)
			over = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, v := range dying {
		c.struck[v.name+" "+string(v.points[0])]++
	}
	r, err := audit.Conservation(c.t.Context(), c.system)
	require.NoError(c.t, err)
	require.Empty(c.t, r.Findings())
	require.Equal(c.t, len(c.orders), r.Orders)
}

// bury waits for a member's death and starts it again.
func (c *casualties) bury(v victim) error {
	select {
	case <-c.Exited(v.name):
	case <-time.After(40 * time.Second):
		return fmt.Errorf("%s did not come to %s", v.name, v.points[0])
	}
	if status := c.ExitStatus(v.name); status != crash.ExitCode {
		return fmt.Errorf("%s ended with status %d at %s", v.name, status, v.points[0])
	}
	return c.Restart(c.t.Context(), v.name)
}

// placement is an order of the crash test and what it may come to.
type placement struct {
	id       string
	outcomes []string
}

// purchase is a kind of order.
type purchase struct {
	shape    func(*coordinatorapi.NewOrder)
	cancel   bool
	outcomes []string
}

// mix is what the shop orders in turn, so that every step is done and undone under fire.
var mix = []purchase{
	{nil, false, []string{"completed"}},
	{token("tok_declined"), false, []string{"cancelled card_declined"}},
	{func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }, false, []string{"cancelled address_not_served"}},
	{nil, false, []string{"completed"}},
	// The wish may come too late if the coordinator is dead for long.
	{token("tok_slow"), true, []string{"cancelled cancelled", "completed"}},
	{func(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-GONE" }, false, []string{"cancelled out_of_stock"}},
	{token("tok_capture_declined"), false, []string{"cancelled card_declined"}},
}

// shop places an order as a shop would: until it is answered, under one key.
func (c *casualties) shop(kind purchase) placement {
	c.t.Helper()
	o := mug(kind.shape)
	a := c.insist(http.MethodPost, "/v1/orders", o.Reference, o)
	require.Equal(c.t, http.StatusAccepted, a.status, "%s", a.body)
	var receipt coordinatorapi.OrderReceipt
	require.NoError(c.t, json.Unmarshal(a.body, &receipt))
	id := receipt.ID.String()
	if kind.cancel {
		a = c.insist(http.MethodPost, "/v1/orders/"+id+"/cancel", "", map[string]any{})
		require.Contains(c.t, []int{http.StatusOK, http.StatusAccepted, http.StatusConflict}, a.status, "%s", a.body)
	}
	return placement{id, kind.outcomes}
}

// insist repeats a request while the coordinator is dead or says that it cannot work.
func (c *casualties) insist(method, path, key string, body any) answer {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(50 * time.Millisecond) {
		a, err := c.ask(method, c.system.Coordinator+path, key, body)
		if err == nil && a.status != http.StatusServiceUnavailable {
			return a
		}
		require.True(c.t, time.Now().Before(deadline), "%s %s: %v %s", method, path, err, a.body)
	}
}
