package sandbox_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/pkg/webhook"
)

const hookSecret = "whsec_YSBzZWNyZXQgb2YgdGhlIHNhbmRib3gncyB0ZXN0"

// receiver takes webhooks, or refuses them.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	ids    []string
	refuse bool
	tries  int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	keys, err := webhook.ParseKeys(hookSecret)
	require.NoError(t, err)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		assert.NoError(t, err)
		id, err := webhook.Verify(request.Header, keys, body, time.Now())
		assert.NoError(t, err)
		assert.Equal(t, "body of "+id, string(body))
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tries++
		if r.refuse {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.ids = append(r.ids, id)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) setRefuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = on
}

func (r *receiver) received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

// hooks runs the hooks of one life of a simulator; stop ends it.
func (r *receiver) hooks(t *testing.T, ledger string) (hooks *sandbox.Hooks, faults *sandbox.Faults, stop func()) {
	t.Helper()
	settings := sandbox.HookSettings{
		WebhookURL: r.URL, WebhookSecret: hookSecret, WebhookDelay: time.Millisecond,
		WebhookRetries: []time.Duration{5 * time.Millisecond},
	}
	require.NoError(t, settings.Validate())
	faults = sandbox.NewFaults(1, sandbox.RouteWebhook)
	hooks, err := sandbox.OpenHooks(settings, ledger, faults, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- hooks.Beside(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	return hooks, faults, stop
}

func notify(hooks *sandbox.Hooks, ids ...string) {
	for _, id := range ids {
		hooks.Notify(id, []byte("body of "+id), time.Now())
	}
}

func (r *receiver) eventually(t *testing.T, want ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.ElementsMatch(c, want, r.received())
	}, 20*time.Second, 2*time.Millisecond)
}

func TestHooks_sends_until_taken_also_after_a_restart(t *testing.T) {
	t.Parallel()
	r, ledger := newReceiver(t), filepath.Join(t.TempDir(), "ledger.jsonl")
	hooks, _, stop := r.hooks(t, ledger)
	notify(hooks, "a")
	r.eventually(t, "a")
	r.setRefuse(true)
	notify(hooks, "b", "c")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.GreaterOrEqual(c, r.tried(), 7, "each is tried again and again")
	}, 20*time.Second, 2*time.Millisecond)
	require.Equal(t, 2, hooks.Stats().Waiting)
	stop()

	r.setRefuse(false)
	hooks, _, stop = r.hooks(t, ledger)
	notify(hooks, "a", "b", "c") // as the ledger is read again
	r.eventually(t, "a", "b", "c")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, sandbox.HookStats{Delivered: 2}, hooks.Stats())
	}, 20*time.Second, 2*time.Millisecond)
	stop()

	hooks, _, _ = r.hooks(t, ledger)
	notify(hooks, "a", "b", "c", "d")
	r.eventually(t, "a", "b", "c", "d")
}

func TestHooks_faults(t *testing.T) {
	t.Parallel()
	r, ledger := newReceiver(t), filepath.Join(t.TempDir(), "ledger.jsonl")
	hooks, faults, stop := r.hooks(t, ledger)
	once := func(kind sandbox.Kind, delay int64) {
		require.NoError(t, faults.Set(sandbox.Rule{Route: sandbox.RouteWebhook, Kind: kind, Count: 1, DelayMS: delay}))
	}
	once(sandbox.HookDrop, 0)
	notify(hooks, "dropped", "a")
	r.eventually(t, "a")
	once(sandbox.HookDuplicate, 0)
	notify(hooks, "twice")
	r.eventually(t, "a", "twice", "twice")
	once(sandbox.HookReorder, 600_000)
	notify(hooks, "first", "second")
	r.eventually(t, "a", "twice", "twice", "first", "second")
	once(sandbox.HookReorder, 20)
	notify(hooks, "alone")
	r.eventually(t, "a", "twice", "twice", "first", "second", "alone")
	once(sandbox.HookLate, 600_000)
	notify(hooks, "late")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, sandbox.HookStats{Delivered: 6, Dropped: 1, Waiting: 1}, hooks.Stats())
	}, 20*time.Second, 2*time.Millisecond)
	stop()

	hooks, _, _ = r.hooks(t, ledger)
	notify(hooks, "dropped", "late")
	r.eventually(t, "a", "twice", "twice", "first", "second", "alone", "late")
}

func TestHooks_none_without_an_address(t *testing.T) {
	t.Parallel()
	hooks, err := sandbox.OpenHooks(sandbox.HookSettings{}, "", nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	notify(hooks, "a")
	require.Zero(t, hooks.Stats())
	require.NoError(t, hooks.Beside(t.Context(), func(context.Context) error { return nil }))
	require.Error(t, sandbox.HookSettings{
		WebhookURL: "payment", WebhookSecret: "x", WebhookSecretPrevious: "y", WebhookDelay: -1,
		WebhookRetries: []time.Duration{0},
	}.Validate())
}

func TestFaults_webhooks_have_kinds_of_their_own(t *testing.T) {
	t.Parallel()
	faults := sandbox.NewFaults(1, "buy", sandbox.RouteWebhook)
	for _, wrong := range []sandbox.Rule{
		{Route: "buy", Kind: sandbox.HookLate, DelayMS: 1},
		{Route: "*", Kind: sandbox.HookDrop},
		{Route: sandbox.RouteWebhook, Kind: sandbox.Status500},
		{Route: sandbox.RouteWebhook, Kind: sandbox.HookLate},
		{Route: sandbox.RouteWebhook, Kind: sandbox.HookReorder, DelayMS: -1},
		{Route: sandbox.RouteWebhook, Kind: sandbox.HookDuplicate, DelayMS: 1},
	} {
		require.Error(t, faults.Set(wrong), wrong)
	}
	require.NoError(t, faults.Set(sandbox.Rule{Route: "*", Kind: sandbox.DropBefore}))
	require.Zero(t, faults.Take(sandbox.RouteWebhook), "* is for requests")
	require.NotZero(t, faults.Take("buy"))
}
