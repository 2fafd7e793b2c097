package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/coalesce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGroup_Do(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		g := coalesce.New(func(_ context.Context, batch []int) ([]string, error) {
			sizes = append(sizes, len(batch))
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // virtual time
			outs := make([]string, len(batch))
			for i, in := range batch {
				outs[i] = fmt.Sprint(in)
			}
			return outs, nil
		}, coalesce.Options{MaxBatch: 60, Linger: time.Millisecond})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				out, err := g.Do(t.Context(), i)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i), out)
			})
		}
		wg.Wait()
		g.Close()
		require.Equal(t, []int{60, 40}, sizes)
		_, err := g.Do(t.Context(), 1)
		require.ErrorIs(t, err, coalesce.ErrClosed)
	})
}

// Those who come while a batch is run, and after it, wait for each other.
func TestGroup_Do_pauses_between_runs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		g := coalesce.New(func(_ context.Context, batch []int) ([]int, error) {
			sizes = append(sizes, len(batch))
			return batch, nil
		}, coalesce.Options{Linger: 10 * time.Millisecond, Pause: 10 * time.Millisecond})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, err := g.Do(t.Context(), i)
				require.NoError(t, err)
			})
			time.Sleep(time.Millisecond) //nolint:forbidigo // virtual time
		}
		wg.Wait()
		g.Close()
		require.Len(t, sizes, 5, "one in ten milliseconds")
	})
}

// A second run begins beside the first one when enough wait, and no third one.
func TestGroup_Do_beside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sizes []int
		running, most := 0, 0
		g := coalesce.New(func(_ context.Context, batch []int) ([]int, error) {
			mu.Lock()
			sizes = append(sizes, len(batch))
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // virtual time
			mu.Lock()
			running--
			mu.Unlock()
			return batch, nil
		}, coalesce.Options{Linger: 500 * time.Microsecond, Beside: 20})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				out, err := g.Do(t.Context(), i)
				require.NoError(t, err)
				require.Equal(t, i, out)
			})
			time.Sleep(time.Millisecond) //nolint:forbidigo // virtual time
		}
		wg.Wait()
		g.Close()
		require.Equal(t, []int{1, 20, 79}, sizes)
		require.Equal(t, 2, most)
		require.Zero(t, g.Waiting())
	})
}

func TestGroup_Do_shares_an_error(t *testing.T) {
	t.Parallel()
	away := errors.New("database is away")
	tests := []struct {
		name string
		run  func(context.Context, []int) ([]int, error)
		want string
	}{
		{"error", func(context.Context, []int) ([]int, error) { return nil, away }, "database is away"},
		{"panic", func(context.Context, []int) ([]int, error) { panic("oh") }, "panicked: oh"},
		{"short", func(context.Context, []int) ([]int, error) { return nil, nil }, "0 outputs for 1 inputs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := coalesce.New(tt.run, coalesce.Options{})
			defer g.Close()
			_, err := g.Do(t.Context(), 1)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestGroup_Do_given_up(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan struct{})
		g := coalesce.New(func(context.Context, []int) ([]int, error) {
			time.Sleep(time.Second) //nolint:forbidigo // virtual time
			close(ran)
			return []int{1}, nil
		}, coalesce.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := g.Do(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		g.Close()
		<-ran
	})
}

func ExampleGroup() {
	g := coalesce.New(func(_ context.Context, words []string) ([]int, error) {
		lengths := make([]int, len(words))
		for i, w := range words {
			lengths[i] = len(w)
		}
		return lengths, nil
	}, coalesce.Options{})
	defer g.Close()
	n, err := g.Do(context.Background(), "recourse")
	fmt.Println(n, err)
	// Output: 8 <nil>
}

func TestGroup_bounds_what_waits(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 8), make(chan struct{})
	g := coalesce.New(func(_ context.Context, batch []int) ([]int, error) {
		entered <- struct{}{}
		<-release
		return batch, nil
	}, coalesce.Options{MaxBatch: 1, MaxWaiting: 2})
	answers := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := g.Do(t.Context(), i)
			answers <- err
		}()
	}
	<-entered
	require.Eventually(t, func() bool { return g.Waiting() == 2 }, 10*time.Second, time.Millisecond)
	_, err := g.Do(t.Context(), 3)
	require.ErrorIs(t, err, coalesce.ErrFull)
	close(release)
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	_, err = g.Do(t.Context(), 4)
	require.NoError(t, err)
	require.Zero(t, g.Waiting())
}
