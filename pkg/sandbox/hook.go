package sandbox

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
)

// HookSettings say where a simulator's webhooks go. Without an URL none are sent.
type HookSettings struct {
	// WebhookURL is the receiver's address.
	WebhookURL string `env:"WEBHOOK_URL"`
	// WebhookSecret signs: whsec_ and at least 24 bytes in base64.
	WebhookSecret service.Secret `env:"WEBHOOK_SECRET"`
	// WebhookSecretPrevious signs as well, while a secret is being changed.
	WebhookSecretPrevious service.Secret `env:"WEBHOOK_SECRET_PREVIOUS"`
	// WebhookDelay is how long after the fact a webhook is sent; default 100 ms, after the answer usually.
	WebhookDelay time.Duration `env:"WEBHOOK_DELAY"`
	// WebhookRetries are the waits before a webhook that nobody took is sent again; the last one goes on, until
	// the webhook is 72 hours old.
	WebhookRetries []time.Duration `env:"WEBHOOK_RETRIES"`
}

const (
	defaultHookDelay = 100 * time.Millisecond
	// hookTimeout ends one try.
	hookTimeout = 5 * time.Second
	// hookLife is how long a webhook is tried, as at the providers that are imitated.
	hookLife = 72 * time.Hour
	// maxHooksInFlight bounds the tries at a time.
	maxHooksInFlight = 32
	// maxHooksWaiting bounds the memory. What is over it waits in the ledger for the next start.
	maxHooksWaiting = 100_000
)

// Validate names every setting that is wrong.
func (s HookSettings) Validate() error {
	if s.WebhookURL == "" {
		return nil
	}
	var errs []error
	if u, err := url.Parse(s.WebhookURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("WEBHOOK_URL=%q: want http://host:port/path or https://host/path", s.WebhookURL))
	}
	if _, err := webhook.ParseKey(s.WebhookSecret); err != nil {
		errs = append(errs, fmt.Errorf("WEBHOOK_SECRET: %w", err))
	}
	if _, err := webhook.ParseKeys(s.WebhookSecretPrevious); err != nil {
		errs = append(errs, fmt.Errorf("WEBHOOK_SECRET_PREVIOUS: %w", err))
	}
	if s.WebhookDelay < 0 {
		errs = append(errs, fmt.Errorf("WEBHOOK_DELAY=%v: want a duration such as 100ms", s.WebhookDelay))
	}
	for _, wait := range s.WebhookRetries {
		if wait <= 0 {
			errs = append(errs, fmt.Errorf("WEBHOOK_RETRIES holds %v: each must be more than 0", wait))
		}
	}
	return errors.Join(errs...)
}

// HookStats count what became of the webhooks of this life of the process.
type HookStats struct {
	// Waiting are not delivered yet; more than the bound wait in the ledger only, as Postponed.
	Waiting   int `json:"waiting"`
	Postponed int `json:"postponed"`
	// Delivered were taken by the receiver, duplicates included; Failed tries were not.
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
	// Dropped were lost on purpose; GivenUp were too old.
	Dropped int `json:"dropped"`
	GivenUp int `json:"given_up"`
}

// Hooks sends a simulator's webhooks, each at least once. It keeps no queue of its own: what happened stands in the
// simulator's ledger, and a second file says which of it needs no webhook any more. So a simulator that was killed
// sends the rest when it is back. A nil Hooks sends nothing.
type Hooks struct {
	settings HookSettings
	keys     []webhook.Key
	client   *http.Client
	faults   *Faults
	log      *slog.Logger
	journal  *Journal[hookEnd]
	// ended are the webhooks of earlier lives that need nothing any more.
	ended map[string]struct{}

	mu      sync.Mutex
	waiting hookQueue
	// overtaken are those of waiting that the next one shall overtake.
	overtaken []*hook
	inFlight  int
	stats     HookStats
	changed   chan struct{}
}

// hookEnd is one line of the second file.
type hookEnd struct {
	ID  string `json:"id"`
	End string `json:"end"`
}

// hook is one webhook on its way.
type hook struct {
	id    string
	body  []byte
	at    time.Time
	due   time.Time
	tries int
}

// OpenHooks reads which webhooks are over with. ledger is the path of the simulator's ledger, empty when it forgets.
func OpenHooks(settings HookSettings, ledger string, faults *Faults, log *slog.Logger) (*Hooks, error) {
	if settings.WebhookURL == "" {
		return nil, nil
	}
	keys, err := webhook.ParseKeys(settings.WebhookSecret, settings.WebhookSecretPrevious)
	if err != nil {
		return nil, err
	}
	settings.WebhookDelay = cmp.Or(settings.WebhookDelay, defaultHookDelay)
	if len(settings.WebhookRetries) == 0 {
		settings.WebhookRetries = []time.Duration{
			time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute,
		}
	}
	transport := &http.Transport{MaxIdleConnsPerHost: maxHooksInFlight, IdleConnTimeout: 20 * time.Second}
	h := &Hooks{
		settings: settings, keys: keys, faults: faults, log: log, ended: map[string]struct{}{},
		client:  &http.Client{Transport: transport, Timeout: hookTimeout, CheckRedirect: noRedirect},
		changed: make(chan struct{}, 1),
	}
	path := ""
	if ledger != "" {
		path = ledger + ".webhooks"
	}
	h.journal, err = OpenJournal(path, false, func(end hookEnd) error {
		h.ended[end.ID] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the list of webhooks: %w", err)
	}
	return h, nil
}

// By lets the receiver be reached by another transport than HTTP over TCP. It is called before Run.
func (h *Hooks) By(transport http.RoundTripper) {
	if h != nil {
		h.client.Transport = transport
	}
}

// noRedirect: a receiver that has moved must be told so by a person; a redirect could lead anywhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Notify sends a webhook about something that happened at the given time, unless it is over with. It does not wait.
func (h *Hooks) Notify(id string, body []byte, at time.Time) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, over := h.ended[id]; over {
		return
	}
	if len(h.waiting) >= maxHooksWaiting {
		h.stats.Postponed++
		return
	}
	plan := h.faults.Take(RouteWebhook)
	if plan.Drop {
		h.stats.Dropped++
		h.end(id, "dropped")
		return
	}
	now := time.Now()
	next := &hook{id: id, body: body, at: at, due: now.Add(h.settings.WebhookDelay + plan.Late)}
	for _, before := range h.overtaken {
		before.due = earlier(before.due, next.due.Add(h.settings.WebhookDelay+time.Millisecond))
	}
	if len(h.overtaken) > 0 {
		h.overtaken = nil
		heap.Init(&h.waiting)
	}
	if plan.Overtaken > 0 {
		next.due = now.Add(plan.Overtaken)
		h.overtaken = append(h.overtaken, next)
	}
	heap.Push(&h.waiting, next)
	if plan.Twice {
		again := *next
		heap.Push(&h.waiting, &again)
	}
	h.signal()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Run delivers until ctx ends; what is left then is sent in the next life.
func (h *Hooks) Run(ctx context.Context) {
	if h == nil {
		return
	}
	var tries sync.WaitGroup
	defer h.client.CloseIdleConnections()
	defer tries.Wait()
	for {
		next, pause := h.take(time.Now())
		if next != nil {
			tries.Go(func() { h.try(ctx, next) })
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-h.changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Beside runs a server and delivers meanwhile, then closes the file.
func (h *Hooks) Beside(ctx context.Context, serve func(context.Context) error) error {
	// A server that fails by itself ends the deliveries, too.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var delivering sync.WaitGroup
	delivering.Go(func() { h.Run(ctx) })
	err := serve(ctx)
	stop()
	delivering.Wait()
	return errors.Join(err, h.Close())
}

// Close closes the file; Run has ended.
func (h *Hooks) Close() error {
	if h == nil {
		return nil
	}
	return h.journal.Close()
}

// Stats says what became of the webhooks.
func (h *Hooks) Stats() HookStats {
	if h == nil {
		return HookStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	stats := h.stats
	stats.Waiting = len(h.waiting) + h.inFlight
	return stats
}

// take returns a webhook that is due, or how long to wait.
func (h *Hooks) take(now time.Time) (*hook, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 || h.inFlight >= maxHooksInFlight {
		return nil, time.Hour // changed ends it
	}
	if pause := h.waiting[0].due.Sub(now); pause > 0 {
		return nil, pause
	}
	next, _ := heap.Pop(&h.waiting).(*hook)
	h.inFlight++
	return next, 0
}

func (h *Hooks) try(ctx context.Context, next *hook) {
	err := webhook.Post(ctx, h.client, h.settings.WebhookURL, h.keys, next.id, next.body)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.signal()
	h.inFlight--
	if err == nil {
		h.stats.Delivered++
		h.end(next.id, "delivered")
		return
	}
	h.stats.Failed++
	if time.Since(next.at) > hookLife {
		h.stats.GivenUp++
		h.end(next.id, "given_up")
		h.log.WarnContext(ctx, "webhook given up", "event_id", next.id, "tries", next.tries, "error", err)
		return
	}
	if next.tries == 0 {
		h.log.InfoContext(ctx, "webhook not delivered; trying again", "event_id", next.id, "error", err)
	}
	next.due = time.Now().Add(h.settings.WebhookRetries[min(next.tries, len(h.settings.WebhookRetries)-1)])
	next.tries++
	heap.Push(&h.waiting, next)
}

// end writes down that a webhook is over with; the caller holds mu. If the line is lost the webhook is sent again,
// which is what at least once means.
func (h *Hooks) end(id, how string) {
	if err := h.journal.Append(hookEnd{ID: id, End: how}); err != nil {
		h.log.Error("writing down that a webhook is over with", "event_id", id, "error", err)
	}
}

func (h *Hooks) signal() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// hookQueue is a heap by due time.
type hookQueue []*hook

func (q hookQueue) Len() int           { return len(q) }
func (q hookQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q hookQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop make it a heap.Interface.
func (q *hookQueue) Push(x any) {
	if next, ok := x.(*hook); ok {
		*q = append(*q, next)
	}
}

// Pop takes the last element.
func (q *hookQueue) Pop() any {
	last := len(*q) - 1
	next := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return next
}
