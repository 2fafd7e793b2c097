package service_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/service"
)

// diary notes what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) component(name string, running chan<- struct{}) service.Component {
	return service.Component{
		Name:  name,
		Start: func(context.Context) error { d.write("start " + name); return nil },
		Run: func(ctx context.Context) error {
			running <- struct{}{}
			<-ctx.Done()
			d.write("end " + name)
			return nil
		},
		Stop: func(context.Context) error { d.write("stop " + name); return nil },
	}
}

var quiet = slog.New(slog.DiscardHandler)

func TestRun_stops_in_reverse(t *testing.T) {
	t.Parallel()
	var d diary
	running := make(chan struct{}, 3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- service.Run(ctx, quiet, time.Minute,
			d.component("pool", running), d.component("consumer", running), d.component("http", running))
	}()
	for range 3 {
		<-running
	}
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, []string{
		"start pool", "start consumer", "start http",
		"end http", "stop http", "end consumer", "stop consumer", "end pool", "stop pool",
	}, d.lines)
}

func TestRun_one_fails_all_stop(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"with an error", errors.New("broken"), "running middle: broken"},
		{"without one", nil, "running middle: it ended by itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var d diary
			running := make(chan struct{}, 2)
			err := service.Run(t.Context(), quiet, time.Minute,
				d.component("first", running),
				service.Component{Name: "middle", Run: func(context.Context) error { return test.err }},
				d.component("last", running))
			require.EqualError(t, err, test.want)
			require.Equal(t, []string{"end last", "stop last", "end first", "stop first"}, d.lines[len(d.lines)-4:])
		})
	}
}

func TestRun_start_fails(t *testing.T) {
	t.Parallel()
	var d diary
	running := make(chan struct{}, 2)
	err := service.Run(t.Context(), quiet, time.Minute,
		d.component("first", running),
		service.Component{Name: "second", Start: func(context.Context) error { return errors.New("no such database") }},
		d.component("third", running))
	require.EqualError(t, err, "starting second: no such database")
	require.Equal(t, []string{"start first", "end first", "stop first"}, d.lines)
}

func TestRun_deadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stopped context.Context
	err := service.Run(ctx, quiet, 50*time.Millisecond,
		service.Component{Name: "pool", Stop: func(ctx context.Context) error { stopped = ctx; return ctx.Err() }},
		service.Component{Name: "stubborn", Run: func(context.Context) error {
			defer close(ended)
			<-release
			return nil
		}})
	require.ErrorContains(t, err, "stopping stubborn: still running at the end of the drain timeout")
	// The others get their turn all the same, with no time left.
	require.ErrorContains(t, err, "stopping pool: context deadline exceeded")
	require.NotNil(t, stopped)
	close(release)
	<-ended
}
