package inbox_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
)

func TestReceive_says_at_once_what_an_event_came_to(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.inDoubt(t)
	require.Empty(t, b.ResolveDue(t), "the question is an hour away")

	b.receive(t, "evt_woke", key)
	b.receive(t, "evt_settled", "known")
	b.receive(t, "evt_unknown", "stranger")
	require.Equal(t, map[string]string{"evt_woke": "woke", "evt_settled": "settled", "evt_unknown": "unknown"},
		b.outcomes(t))
	replies := b.ResolveDue(t)
	require.Len(t, replies, 1)
	require.NotNil(t, replies[0].GetDone())

	b.receive(t, "evt_late", key)
	require.Equal(t, "settled", b.outcomes(t)["evt_late"], "nothing is in doubt any more")
	require.Equal(t, 4, b.counted(t, "received"))
	for _, result := range []string{"woke", "unknown"} {
		require.Equal(t, 1, b.counted(t, result), result)
	}
}

func TestReceive_twice_is_once(t *testing.T) {
	t.Parallel()
	t.Run("one_after_the_other", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.receive(t, "evt_1", "known")
		b.receive(t, "evt_1", "known")
		require.Equal(t, map[string]string{"evt_1": "settled"}, b.outcomes(t))
		require.Equal(t, 1, b.counted(t, "settled"))
		require.Equal(t, 1, b.counted(t, "duplicate"))
	})
	t.Run("in_one_batch", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.looking = make(chan struct{})
		var deliveries sync.WaitGroup
		deliver := func(id string) {
			h := header(t, id, "known")
			deliveries.Go(func() { assert.NoError(t, b.Receive(t.Context(), h, []byte("known"))) })
		}
		deliver("evt_0")
		<-b.looking // what comes now is the next batch
		deliver("evt_1")
		deliver("evt_1")
		b.looking <- struct{}{}
		batches := 1
		done := make(chan struct{})
		go func() {
			deliveries.Wait()
			close(done)
		}()
		for open := true; open; {
			select {
			case <-b.looking:
				b.looking <- struct{}{}
				batches++
			case <-done:
				open = false
			}
		}
		require.LessOrEqual(t, batches, 3)
		require.Equal(t, map[string]string{"evt_0": "settled", "evt_1": "settled"}, b.outcomes(t))
		require.Equal(t, 2, b.counted(t, "settled"))
		require.Equal(t, 1, b.counted(t, "duplicate"))
	})
}

// A provider that does not wait for the answer has told its news all the same.
func TestReceive_from_who_hangs_up(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.inDoubt(t)
	b.looking = make(chan struct{})
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h := header(t, "evt_1", key)
	go func() { ended <- b.Receive(ctx, h, []byte(key)) }()
	<-b.looking
	hangUp()
	require.ErrorIs(t, <-ended, context.Canceled)
	b.looking <- struct{}{}
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, 1, b.counted(c, "woke")) },
		10*time.Second, 5*time.Millisecond)
	require.Equal(t, map[string]string{"evt_1": "woke"}, b.outcomes(t))
}

// The answer on its way may be older than the event.
func TestReceive_while_the_call_is_on_its_way(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := b.inDoubt(t)
	b.receive(t, "evt_1", key)
	b.held = make(chan struct{})
	asked, err := b.Worker.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	<-b.arrived

	b.receive(t, "evt_2", key)
	require.Equal(t, "waiting", b.outcomes(t)["evt_2"])
	left, err := b.Process(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, left)

	close(b.held)
	_, err = b.Worker.Settle(t.Context())
	require.NoError(t, err)
	left, err = b.Process(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, "settled", b.outcomes(t)["evt_2"])
}

// An event that cannot be looked at is kept, and Run looks at it as soon as it can, not an hour later.
func TestRun_finishes_what_could_not_be_looked_at(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *inbox.Config) { c.Every = time.Hour })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	b.broken.Store(true)
	b.receive(t, "evt_1", "known")
	require.Equal(t, map[string]string{"evt_1": "waiting"}, b.outcomes(t))
	_, err := b.Process(t.Context())
	require.ErrorContains(t, err, "find is broken")
	require.Equal(t, 1, b.counted(t, "received"))

	b.broken.Store(false)
	go func() { ended <- b.Run(ctx) }()
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, 1, b.counted(c, "settled")) },
		10*time.Second, 5*time.Millisecond)
	require.Equal(t, map[string]string{"evt_1": "settled"}, b.outcomes(t))
	b.broken.Store(true)
	b.receive(t, "evt_2", "known")
	b.broken.Store(false)
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, 2, b.counted(c, "settled")) },
		10*time.Second, 5*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
}

func TestRun_prunes_but_never_what_has_no_outcome(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *inbox.Config) { c.Keep = inbox.MinKeep })
	b.receive(t, "evt_old", "known")
	b.broken.Store(true)
	b.receive(t, "evt_open", "known")
	_, err := b.Pool.Exec(t.Context(), `UPDATE webhook_event SET received_at = received_at - interval '5 days'`)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var ids []string
		assert.NoError(c, b.Pool.QueryRow(t.Context(), `SELECT array_agg(event_id) FROM webhook_event`).Scan(&ids))
		assert.Equal(c, []string{"evt_open"}, ids)
	}, 10*time.Second, 5*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
}

func TestReceive_refuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	closed := setup(t, func(c *inbox.Config) { c.Keys = nil })
	sign := func(text string, at time.Time) http.Header {
		h := http.Header{}
		webhook.Sign(h, keys(t, text), "evt_1", at, []byte("known"))
		return h
	}
	for _, tt := range []struct {
		name   string
		box    *bundle
		header http.Header
		code   httpserver.Code
		says   string
	}{
		{"unsigned", b, http.Header{}, httpserver.CodeSignatureInvalid, webhook.HeaderID},
		{"forged", b, sign(oldSecret, time.Now()), httpserver.CodeSignatureInvalid, "None of the signatures"},
		{"stale", b, sign(secret, time.Now().Add(-time.Hour)), httpserver.CodeSignatureExpired, "Sign each try anew"},
		{"no_keys", closed, sign(secret, time.Now()), httpserver.CodeSignatureInvalid, "WEBHOOK_SECRET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := len(tt.box.outcomes(t))
			err := tt.box.Receive(t.Context(), tt.header, []byte("known"))
			var problem *httpserver.Problem
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.code, problem.Code)
			require.Contains(t, problem.Detail, tt.says)
			require.Equal(t, before, len(tt.box.outcomes(t)), "nothing is stored")
		})
	}
}
