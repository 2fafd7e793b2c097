package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	secret    = "whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QncyBnYXRld2F5"
	oldSecret = "whsec_dGhlIG9sZCBvbmUgb2YgYSB0ZXN0J3MgZ2F0ZXdheQ=="
	source    = "gateway"
)

// bundle is an inbox over a till whose calls are never answered the first time. An event's body is the effect key that
// it is about.
type bundle struct {
	*workertest.Kit
	*inbox.Inbox
	registry *prometheus.Registry
	// held keeps calls on their way until it is closed; arrived gets a token for each.
	held    chan struct{}
	arrived chan struct{}
	// broken makes Find fail; looking, when set, gets a token for each Find, which then waits for one.
	broken  atomic.Bool
	looking chan struct{}
}

func setup(t *testing.T, change ...func(*inbox.Config)) *bundle {
	t.Helper()
	b := &bundle{registry: prometheus.NewRegistry(), arrived: make(chan struct{}, 100)}
	pool := pgtest.DB(t, fstest.MapFS{
		"00001_participant.sql": {Data: []byte(worker.Schema)},
		"00002_prune.sql":       {Data: []byte(worker.PruneSchema)},
		"00003_dismiss.sql":     {Data: []byte(worker.DismissSchema)},
		"00004_inbox.sql":       {Data: []byte("-- +goose Up\n" + inbox.DDL)},
	})
	b.Kit = workertest.New(t, pool, func(w *worker.Worker) {
		worker.HandleCall(w, worker.CallHandler[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization]{
			Call: b.call, Settle: settle, PrepareUndo: prepareUndo,
		})
	})
	config := inbox.Config{Source: source, Keys: keys(t, secret), Read: read, Find: b.find, Every: time.Hour}
	for _, c := range change {
		c(&config)
	}
	b.Inbox = inbox.New(config, pool, b.Worker, slog.New(slog.DiscardHandler), b.registry)
	t.Cleanup(b.Close)
	return b
}

func keys(t *testing.T, text string) []webhook.Key {
	t.Helper()
	list, err := webhook.ParseKeys(service.Secret(text))
	require.NoError(t, err)
	return list
}

func read(body []byte) inbox.Event {
	return inbox.Event{Type: "news", Object: string(body), Reference: "ref " + string(body)}
}

// find knows every object but "stranger"; of an effect key it says that it may be in doubt.
func (b *bundle) find(_ context.Context, _ pgx.Tx, events []inbox.Event) ([]inbox.News, error) {
	if b.looking != nil {
		b.looking <- struct{}{}
		<-b.looking
	}
	if b.broken.Load() {
		return nil, errors.New("find is broken")
	}
	news := make([]inbox.News, len(events))
	for i, e := range events {
		news[i].Known = e.Object != "stranger"
		if effect, err := worker.ParseEffectKey(e.Object); err == nil {
			news[i].Open = []worker.Effect{effect}
		}
	}
	return news, nil
}

func (b *bundle) call(ctx context.Context, c *worker.Command[*paymentv1.AuthorizePayment]) (any, error) {
	b.arrived <- struct{}{}
	if b.held != nil {
		select {
		case <-b.held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if c.Probe == 0 {
		return nil, errors.New("no answer")
	}
	return "authorized", nil
}

func settle(
	_ context.Context, _ pgx.Tx, batch []worker.Settled[*paymentv1.AuthorizePayment],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	for i, s := range batch {
		if s.Err != nil {
			outcomes[i] = worker.InDoubt(time.Hour, "no answer")
			continue
		}
		outcomes[i] = worker.Done(nil, nil)
	}
	return outcomes, nil
}

func prepareUndo(
	_ context.Context, _ pgx.Tx, batch []*worker.Undo[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	for i := range outcomes {
		outcomes[i] = worker.Undone()
	}
	return outcomes, nil
}

// inDoubt makes an effect whose next question is an hour away, and returns its key.
func (b *bundle) inDoubt(t *testing.T) string {
	t.Helper()
	do := &paymentv1.AuthorizePayment{Meta: workertest.Meta("authorize_payment")}
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	<-b.arrived
	meta := do.GetMeta()
	return worker.EffectKey(uuid.MustParse(meta.GetSagaId()), meta.GetStep(), int(meta.GetGeneration()))
}

// header signs a body now.
func header(t *testing.T, id, body string) http.Header {
	t.Helper()
	h := http.Header{}
	webhook.Sign(h, keys(t, secret), id, time.Now(), []byte(body))
	return h
}

func (b *bundle) receive(t *testing.T, id, body string) {
	t.Helper()
	require.NoError(t, b.Receive(t.Context(), header(t, id, body), []byte(body)))
}

// outcomes are those of all events, by id.
func (b *bundle) outcomes(t *testing.T) map[string]string {
	t.Helper()
	list, next, err := inbox.List(t.Context(), b.Pool, inbox.Filter{Limit: 100})
	require.NoError(t, err)
	require.Nil(t, next)
	found := make(map[string]string, len(list))
	for i := range list {
		found[list[i].EventID] = list[i].OutcomeText()
	}
	return found
}

func (b *bundle) counted(t require.TestingT, result string) int {
	families, err := b.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "recourse_webhook_events_total" && m.GetLabel()[0].GetValue() == result {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return -1
}
