package pace_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pace"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestPacer(t *testing.T) {
	t.Parallel()
	t.Run("alone_on_the_machine_nobody_waits", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		for range 100 {
			require.Zero(t, p.Pause(1, 0, 2*time.Millisecond, start))
		}
	})
	t.Run("who_was_made_to_wait_waits_as_long", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		p.Pause(1, 0, 2*time.Millisecond, start)
		require.InDelta(t, 4*time.Millisecond, p.Pause(1, 0, 6*time.Millisecond, start), 1e5)
	})
	t.Run("who_had_nothing_to_do_expects_nobody", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		p.Pause(1, 0, 2*time.Millisecond, start)
		require.InDelta(t, 4*time.Millisecond, p.Pause(1, 6*time.Millisecond, 12*time.Millisecond, start), 1e5)
		require.Zero(t, p.Pause(1, time.Second, 12*time.Millisecond, start))
	})
	t.Run("not_for_ever", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		p.Pause(1, 0, 2*time.Millisecond, start)
		require.Equal(t, 5*time.Millisecond, p.Pause(1, 0, time.Minute, start))
	})
	t.Run("a_large_batch_takes_longer_and_needs_no_company", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		p.Pause(1, 0, 2*time.Millisecond, start)
		require.Zero(t, p.Pause(60, 0, 3800*time.Microsecond, start))
		require.Zero(t, p.Pause(200, 0, time.Second, start))
	})
	t.Run("a_slower_database_is_got_used_to", func(t *testing.T) {
		t.Parallel()
		var p pace.Pacer
		p.Pause(1, 0, 2*time.Millisecond, start)
		now, pauses := start, 0
		for range 100 {
			now = now.Add(time.Minute)
			if p.Pause(1, 0, 6*time.Millisecond, now) > time.Millisecond {
				pauses++
			}
		}
		require.Less(t, pauses, 20)
		require.NotZero(t, pauses)
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	require.True(t, pace.Wait(ctx, -1))
	require.True(t, pace.Wait(ctx, time.Microsecond))
	cancel()
	require.False(t, pace.Wait(ctx, time.Hour))
	require.False(t, pace.Wait(ctx, 0))
}

// A loop asks after every batch.
func ExamplePacer() {
	var p pace.Pacer
	now := time.Now()
	fmt.Println(p.Pause(1, 0, 2*time.Millisecond, now) > 0) // nothing to compare with
	fmt.Println(p.Pause(1, 0, 9*time.Millisecond, now) > 0) // the machine is full
	fmt.Println(p.Pause(1, 0, 2*time.Millisecond, now) > 0) // it is not any more
	// Output:
	// false
	// true
	// false
}
