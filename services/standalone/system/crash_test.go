package system_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
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

// everyMode is `go test ./services/standalone/system -run TestCrash -crash.all`.
var everyMode = flag.Bool("crash.all", false, "TestCrash: strike at every point in every mode, and not in one of them")

// victims are the members that are struck, each beside another one of its kind that is left alone and takes over.
func victims() []*victim {
	// What only a participant with a provider meets.
	calls := []crash.Name{
		crash.WorkerAfterClaim, crash.WorkerBeforeCall, crash.WorkerAfterAnswer, crash.WorkerAfterCall,
		crash.WorkerBeforeSettleCommit, crash.WorkerAfterSettleCommit, crash.WorkerAfterSettleProduce,
	}
	of := map[string][]crash.Name{}
	for _, point := range crash.Points() {
		owner, _, _ := strings.Cut(string(point), ".")
		switch {
		case owner == "worker":
			of[stack.Payment] = append(of[stack.Payment], point)
			if !slices.Contains(calls, point) {
				of[stack.Inventory] = append(of[stack.Inventory], point)
			}
		case point == crash.ConsumerAfterOffsets:
			for _, member := range []string{stack.Coordinator, stack.Inventory, stack.Payment} {
				of[member] = append(of[member], point)
			}
		case owner == "inbox":
			of[stack.Payment] = append(of[stack.Payment], point)
		case point == crash.DeadletterAfterRedrive:
			of[stack.Coordinator] = append(of[stack.Coordinator], point)
		default:
			of[owner] = append(of[owner], point)
		}
	}
	var all []*victim
	for _, member := range []string{stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification} {
		all = append(all, &victim{name: member, spare: member + "-spare", points: of[member]})
	}
	return all
}

// strikes is the result of the test, in one line.
type strikes struct {
	Points  int            `json:"points"`
	Modes   int            `json:"modes"`
	Strikes int            `json:"strikes"`
	ByMode  map[string]int `json:"by_mode"`
	// Without counts the pairs of point and mode that mean nothing; see crash.Without.
	Without int `json:"without_meaning"`
	// Overtaken counts how often a member found its place taken when it went on.
	Overtaken int     `json:"overtaken"`
	Orders    int     `json:"orders"`
	Lost      int     `json:"lost"`
	Doubled   int     `json:"doubled"`
	Other     int     `json:"other_findings"`
	Seconds   float64 `json:"seconds"`
}

// One member of each kind is struck at each line that it meets: it dies there, panics, stands still while its session
// and its leases end and another one takes over, or is told that what it has just done went wrong. Orders go forward and
// back meanwhile; the shop repeats what nobody answered. After every round the books agree, and in the end nothing is
// lost and nothing doubled.
//
// Without -crash.all each point is struck in one of the modes, in turn.
func TestCrash_BetweenAnyTwoLines(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	session := 6 * time.Second // the shortest that a real broker allows
	var dir string
	all := victims()
	c := &casualties{platform: start(t, func(o *stack.Options) {
		dir = o.DataDir
		withPatience(o)
		o.Executable = deadly(t)
		// Short leases: a question that stood still, or died with its process, is asked again soon.
		o.Env = append(o.Env, "ANSWER_TIMEOUT=600ms", "OUTSIDE_TIMEOUT=1200ms", "RESEND_MAX=600ms", "GATEWAY_TIMEOUT=500ms",
			"CARRIER_TIMEOUT=500ms", "SMTP_TIMEOUT=500ms", "SLOW_DELAY=300ms", "SWEEP_EVERY=200ms",
			"GIVE_UP=200",     // nothing is given up that only waits for its turn
			"ADMIT_WITHIN=1h", // what is struck all the time is slow, and slow is not too busy
			// Who dies while the group is dealing out partitions is waited for as long as this, and not for a session.
			"KAFKA_REBALANCE_TIMEOUT=5s", "KAFKA_DELIVERY_TIMEOUT=4s")
		if len(o.Brokers) == 0 {
			session = time.Second
			o.Env = append(o.Env, "KAFKA_SESSION_TIMEOUT=1s")
		}
		for _, v := range all {
			v.file, v.session = filepath.Join(t.TempDir(), v.name), session
			o.OwnProcess = append(o.OwnProcess, v.name)
			o.MemberEnv[v.name] = append(o.MemberEnv[v.name], crash.FileVar+"="+v.file)
		}
	})}
	c.client.Timeout = 3 * time.Second
	var starting errgroup.Group
	for _, v := range all {
		v.platform = c.platform
		require.NoError(t, c.Copy(v.name, v.spare))
		starting.Go(func() error { return c.Restart(t.Context(), v.spare, crash.FileVar+"=") })
	}
	require.NoError(t, starting.Wait())
	// The books are read, and orders looked at, where nobody is struck.
	c.system.Coordinator, c.system.Inventory = c.URL(stack.Coordinator+"-spare"), c.URL(stack.Inventory+"-spare")
	c.system.Payment, c.system.Shipping = c.URL(stack.Payment+"-spare"), c.URL(stack.Shipping+"-spare")
	c.sell("SKU-MUG", 1_000_000)
	c.sell("SKU-GONE", 0)
	stop := c.keepBusy()
	out := strikes{Points: len(crash.Points()), Modes: len(crash.Modes()), ByMode: map[string]int{}}
	for round, mode := range crash.Modes() {
		// Where no order gets to while those before are struck all the time comes after them.
		for _, together := range [][]*victim{all[:3], all[3:]} {
			var striking errgroup.Group
			for _, v := range together {
				striking.Go(func() error { return c.strikeAll(v, mode, round, &out) })
			}
			require.NoError(t, striking.Wait())
		}
		c.booksAgree(round)
		t.Logf("%s: %d strikes, %d orders, %.0f s", mode, out.ByMode[string(mode)], c.placed(), time.Since(begin).Seconds())
	}
	stop()
	for _, o := range c.orders {
		got := outcome(c.until(o.id, "to end", ended))
		if !slices.Contains(o.outcomes, got) {
			t.Errorf("order %s: %s, wanted one of %v", o.id, got, o.outcomes)
		}
	}
	r, err := audit.Conservation(t.Context(), c.system)
	require.NoError(t, err)
	out.Orders = r.Orders
	out.Lost = r.Open + len(r.Missing) + max(0, len(c.orders)-r.Orders)
	out.Doubled = len(r.Doubled) + max(0, r.Orders-len(c.orders))
	out.Other = len(r.Findings()) - len(r.Doubled) - len(r.Missing)
	for _, v := range all {
		out.Overtaken += v.overtaken(dir)
	}
	out.Seconds = time.Since(begin).Round(100 * time.Millisecond).Seconds()
	line, err := json.Marshal(out)
	require.NoError(t, err)
	fmt.Fprintf(os.Stdout, "%s\n", line)
	require.Empty(t, r.Findings())
	require.Zero(t, out.Lost+out.Doubled)
	require.NotZero(t, out.Overtaken, "nobody took over from a member that stood still")
	c.onlyPoisonParked()
}

// strikeAll strikes one member at each of its points, or at those whose turn it is in this round.
func (c *casualties) strikeAll(v *victim, mode crash.Mode, round int, out *strikes) error {
	for i, point := range v.points {
		if !*everyMode && (i+round)%len(crash.Modes()) != 0 {
			continue
		}
		means := crash.Without(point, mode) == ""
		if means {
			if err := v.strike(point, mode); err != nil {
				return fmt.Errorf("%s at %s, mode %s: %w", v.name, point, mode, err)
			}
		}
		c.mu.Lock()
		if means {
			out.Strikes++
			out.ByMode[string(mode)]++
		} else {
			out.Without++
		}
		c.mu.Unlock()
	}
	return nil
}

// deadly builds the binary that can be struck.
func deadly(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recourse")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", path, "recourse.dev/services/standalone")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// booksAgree audits while orders are under way.
func (c *casualties) booksAgree(round int) {
	c.t.Helper()
	r, err := audit.Conservation(c.t.Context(), c.system)
	require.NoError(c.t, err)
	require.Empty(c.t, r.Findings(), "round %d", round)
}

// mix is what the shop orders in turn, so that every step is done and undone under fire.
var mix = []purchase{
	{nil, false, []string{"completed"}},
	{token("tok_declined"), false, []string{"cancelled card_declined"}},
	{func(o *coordinatorapi.NewOrder) { o.ShipTo.Country = "AQ" }, false, []string{"cancelled address_not_served"}},
	{nil, false, []string{"completed"}},
	// The wish may come too late if the coordinator is dead for long.
	{token("tok_slow"), true, []string{"cancelled cancelled", "completed"}},
	// The provider's event overtakes its answer, so it has to be looked at again.
	{token("tok_slow"), false, []string{"completed"}},
	{func(o *coordinatorapi.NewOrder) { o.Lines[0].Sku = "SKU-GONE" }, false, []string{"cancelled out_of_stock"}},
	{token("tok_capture_declined"), false, []string{"cancelled card_declined"}},
}

// purchase is a kind of order.
type purchase struct {
	shape    func(*coordinatorapi.NewOrder)
	cancel   bool
	outcomes []string
}
