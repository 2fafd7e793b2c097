package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/load"
)

// A system that stands still for a second makes a hundred requests late, and each of them counts.
func TestRun_omits_nothing_while_the_system_stands_still(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r, err := load.Run(t.Context(), load.Options{
			Rate: 100, Duration: 3 * time.Second,
			Do: func(_ context.Context, _ int, due time.Time) load.Outcome {
				require.Equal(t, due, time.Now(), "it is sent when it is due")
				stands := start.Add(time.Second)
				if !due.Before(stands) && due.Before(stands.Add(time.Second)) {
					<-time.After(time.Until(stands.Add(time.Second)))
				}
				return load.Accepted
			},
		})
		require.NoError(t, err)
		require.Equal(t, 300, r.Sent)
		require.Equal(t, map[load.Outcome]int{load.Accepted: 300}, r.Outcomes)
		took := r.Latency[load.Accepted]
		require.InEpsilon(t, 0.51, took.At(83.7).Seconds(), 0.05, "a third waits for half a second on average")
		require.InEpsilon(t, 1, took.At(100).Seconds(), 0.05)
		require.Less(t, took.At(60), time.Millisecond)
	})
}

func TestRun_sends_late_together_and_never_early(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r, err := load.Run(t.Context(), load.Options{
			Rate: 1000, Duration: time.Second, Every: 10 * time.Millisecond,
			Do: func(_ context.Context, _ int, due time.Time) load.Outcome {
				require.Zero(t, time.Since(start)%(10*time.Millisecond))
				require.False(t, due.After(time.Now()))
				return load.Accepted
			},
		})
		require.NoError(t, err)
		require.Equal(t, 1000, r.Sent)
		took := r.Latency[load.Accepted]
		require.InDelta(t, 4500*time.Microsecond, took.At(50), 1e6, "the time before they were sent counts")
		require.Equal(t, 9*time.Millisecond, r.Late)
	})
}

func TestRun_does_not_hide_what_it_did_not_send(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := load.Run(t.Context(), load.Options{
			Rate: 10, Duration: time.Second, MaxInFlight: 4,
			Do: func(context.Context, int, time.Time) load.Outcome {
				<-time.After(time.Minute)
				return load.Failed
			},
		})
		require.NoError(t, err)
		require.Equal(t, 4, r.Sent)
		require.Equal(t, 6, r.Missed)
		require.Equal(t, 4, r.Outcomes[load.Failed])
	})
}

func TestRun_ends_with_its_context(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
		defer cancel()
		r, err := load.Run(ctx, load.Options{
			Rate: 100, Duration: time.Hour,
			Do: func(context.Context, int, time.Time) load.Outcome { return load.Accepted },
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10, r.Sent)
	})
}

func TestRun_wants_a_rate(t *testing.T) {
	t.Parallel()
	_, err := load.Run(t.Context(), load.Options{Duration: time.Second})
	require.ErrorContains(t, err, "Rate")
}

func TestShop_tells_outcomes_apart(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	for _, tt := range []struct {
		name, after, location string
		status                int
		outcome               load.Outcome
		wait                  time.Duration
	}{
		{"accepted", "", "/v1/orders/" + id.String(), 202, load.Accepted, 0},
		{"refused", "7", "", 429, load.Refused, 7 * time.Second},
		{"refused without a time", "", "", 429, load.Unavailable, 0},
		{"away", "5", "", 503, load.Unavailable, 5 * time.Second},
		{"mistake", "", "", 500, load.Failed, 0},
		{"no place of it", "", "nothing", 202, load.Failed, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var keys atomic.Value
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				keys.Store(r.Header.Get("Idempotency-Key"))
				if tt.after != "" {
					w.Header().Set("Retry-After", tt.after)
				}
				if tt.location != "" {
					w.Header().Set("Location", tt.location)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte("{}"))
			}))
			t.Cleanup(server.Close)
			shop := load.NewShop(server.URL, "", 1)
			t.Cleanup(shop.Close)
			got, outcome, wait := shop.Submit(t.Context(), load.NewOrder("ref-1", "SKU-1", "tok_visa"))
			require.Equal(t, tt.outcome, outcome)
			require.Equal(t, tt.wait, wait)
			require.Equal(t, "ref-1", keys.Load())
			require.Equal(t, tt.outcome == load.Accepted, got == id)
		})
	}
}
