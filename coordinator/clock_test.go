package coordinator_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/clock"
)

// TestClock_steps moves the wall clock of a running coordinator, back and forth. Deadlines do not come early, timers go
// on, and new orders get ids of the database's time, by which scans look for them.
func TestClock_steps(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a process")
	}
	t.Parallel()
	dir := t.TempDir()
	binary, file := filepath.Join(dir, "coordinator"), filepath.Join(dir, "offset")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", binary, "./cmd/coordinator")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	step := func(offset string) { require.NoError(t, os.WriteFile(file, []byte(offset), 0o600)) }

	s := newSystem(t)
	s.world.answer(mute("create_shipment/do"))
	p := s.spawn(t, binary, clock.EnvVar+"="+file)
	n := p.node(t)
	id := n.submit("first", newOrder(map[string]any{"deadline_seconds": 600})).ID
	sends := func() int { return len(s.world.received(id, "create_shipment/do")) }
	for _, offset := range []string{"-1h", "1h", "-25h"} {
		step(offset)
		before := sends()
		require.Eventually(t, func() bool { return sends() > before+3 }, waitFor, tick, "timers go on at %s", offset)
		require.Equal(t, "processing", string(n.order(id).Status), "the deadline is not due at %s", offset)

		another := n.submit("at "+offset, newOrder()).ID
		seconds, nanos := another.Time().UnixTime()
		require.WithinDuration(t, time.Now(), time.Unix(seconds, nanos), time.Minute, "the time in an order's id")
		a := n.call("GET", "/readyz?verbose", nil, nil)
		require.Equal(t, 200, a.Status, string(a.Body))
	}
	s.world.answer(nil)
	n.awaitStatus(id, "completed")
	p.terminate()
	require.Zero(t, p.wait())
}
