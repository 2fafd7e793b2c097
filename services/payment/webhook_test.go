package payment_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker/workertest"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/payment"
)

const (
	secret    = "whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QncyBnYXRld2F5"
	oldSecret = "whsec_dGhlIG9sZCBvbmUgb2YgYSB0ZXN0J3MgZ2F0ZXdheQ=="
)

// door is a participant's inbox; its probes are a minute apart, so that whatever is asked sooner was woken.
type door struct {
	bundle
	*inbox.Inbox
	registry *prometheus.Registry
}

func setupDoor(t *testing.T, b bundle) door {
	t.Helper()
	keys, err := webhook.ParseKeys(secret)
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	box := payment.NewInbox(b.Pool, b.Worker, b.provider.gateway(t, unhurried), keys, time.Second, 0,
		slog.New(slog.DiscardHandler), registry)
	t.Cleanup(box.Close)
	return door{b, box, registry}
}

// event is the body of a webhook.
func event(id, kind, intent, order string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"object":"event","type":%q,"created":%d,"data":{"object":{"id":%q,`+
		`"metadata":{"order_id":%q}}}}`, id, kind, 1767225600, intent, order)
}

// signed are the headers of a webhook that was signed now.
func signed(t *testing.T, id string, body []byte, at time.Time, secrets ...string) http.Header {
	t.Helper()
	header := http.Header{}
	for _, text := range secrets {
		key, err := webhook.ParseKey(service.Secret(text))
		require.NoError(t, err)
		one := http.Header{}
		webhook.Sign(one, []webhook.Key{key}, id, at, body)
		if before := header.Get(webhook.HeaderSignature); before != "" {
			one.Set(webhook.HeaderSignature, before+" "+one.Get(webhook.HeaderSignature))
		}
		header = one
	}
	return header
}

// deliver sends an event through the door and looks at it.
func (d door) deliver(t *testing.T, id, kind, intent, order string) (left int) {
	t.Helper()
	body := event(id, kind, intent, order)
	require.NoError(t, d.Receive(t.Context(), signed(t, id, body, time.Now(), secret), body))
	left, err := d.Process(t.Context())
	require.NoError(t, err)
	return left
}

func (d door) outcome(t *testing.T, id string) string {
	t.Helper()
	var outcome *string
	err := d.Pool.QueryRow(t.Context(), `SELECT outcome FROM webhook_event WHERE event_id = $1`, id).Scan(&outcome)
	require.NoError(t, err)
	if outcome == nil {
		return "waiting"
	}
	return *outcome
}

func (d door) counted(t *testing.T, result string) int {
	t.Helper()
	families, err := d.registry.Gather()
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

// due asks what is due, without playing any time, and returns the replies.
func (d door) due(t *testing.T) []*sagav1.Reply {
	t.Helper()
	return d.ResolveDue(t)
}

func TestWebhook_resolves_what_is_in_doubt_before_its_probe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, says string }{
		{"the truth", "payment_intent.amount_capturable_updated"},
		// What it says about the object is not even looked at.
		{"a lie", "payment_intent.canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := setupDoor(t, setup(t))
			d.provider.next(payment.CallConfirm, dropAfter)
			meta := workertest.Meta(authorizeStep)
			require.NotNil(t, d.Do(t, authorize(meta, "tok_visa")).GetInDoubt())
			require.Empty(t, d.due(t), "the probe is a minute away")

			require.Zero(t, d.deliver(t, "evt_1", test.says, "pi_1", meta.GetOrderId()))
			require.Equal(t, "woke", d.outcome(t, "evt_1"))
			require.Equal(t, []string{"authorize unknown"}, operationsOf(t, d.Pool, meta), "nothing is decided by it")
			replies := d.due(t)
			require.Len(t, replies, 1)
			require.NotNil(t, replies[0].GetDone())
			require.Equal(t, []string{
				"1 create response 200", "2 confirm reset", "3 list response 200",
			}, attemptsOf(t, d.Pool, meta), "one question")
			require.Equal(t, 1, d.provider.count("authorize"))
			requireBooksAgree(t, d.Pool)

			require.Zero(t, d.deliver(t, "evt_2", test.says, "pi_1", meta.GetOrderId()))
			require.Equal(t, "settled", d.outcome(t, "evt_2"), "late")
			require.Empty(t, d.due(t))
			require.Equal(t, []string{"authorize succeeded"}, operationsOf(t, d.Pool, meta))
		})
	}
}

func TestWebhook_of_capture_and_void(t *testing.T) {
	t.Parallel()
	d := setupDoor(t, setup(t))
	captured, voided := workertest.Meta(authorizeStep), workertest.Meta(authorizeStep)
	for _, meta := range []*sagav1.CommandMeta{captured, voided} {
		require.NotNil(t, d.Do(t, authorize(meta, "tok_visa")).GetDone())
	}
	d.provider.next(payment.CallCapture, dropAfter)
	d.provider.next(payment.CallCancel, dropAfter)
	require.NotNil(t, d.Do(t, capture(captured)).GetInDoubt())
	require.NotNil(t, d.Undo(t, void(voided)).GetInDoubt())

	// A refund, whose own intent nobody refunds here, is about the intent that it names.
	body := []byte(`{"type":"refund.created","data":{"object":{"id":"re_1","payment_intent":"pi_1"}}}`)
	require.NoError(t, d.Receive(t.Context(), signed(t, "evt_r", body, time.Now(), secret), body))
	require.Zero(t, d.deliver(t, "evt_v", "payment_intent.canceled", "pi_2", ""))
	require.Equal(t, "woke", d.outcome(t, "evt_r"))
	require.Equal(t, "woke", d.outcome(t, "evt_v"))
	require.Len(t, d.due(t), 2)
	require.Equal(t, "captured", intentOf(t, d.Pool, captured).State)
	require.Equal(t, "voided", intentOf(t, d.Pool, voided).State)
	requireBooksAgree(t, d.Pool)
}

// The event overtakes the answer, and the answer gets lost: it must not be forgotten that there is news.
func TestWebhook_before_the_answer(t *testing.T) {
	t.Parallel()
	d := setupDoor(t, setupWith(t, patient, time.Second))
	d.provider.next(payment.CallConfirm, late)
	meta := workertest.Meta(authorizeStep)
	_, err := d.Worker.Process(t.Context(), d.Records(t, authorize(meta, "tok_visa")))
	require.NoError(t, err)
	<-d.provider.waiting
	require.Equal(t, 1, d.deliver(t, "evt_1", "payment_intent.amount_capturable_updated", "pi_1", meta.GetOrderId()))
	require.Equal(t, "waiting", d.outcome(t, "evt_1"), "a call is on its way")

	require.NoError(t, d.Worker.Await(t.Context()))
	_, err = d.Worker.Settle(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"authorize unknown"}, operationsOf(t, d.Pool, meta))
	left, err := d.Process(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, "woke", d.outcome(t, "evt_1"))
	d.provider.releaseLate()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, 1, d.provider.held())
	}, 10*time.Second, 10*time.Millisecond)
	require.NotNil(t, d.due(t)[0].GetDone())
	require.Equal(t, 1, d.provider.count("authorize"))
}

func TestWebhook_unknown_and_unreadable_are_kept(t *testing.T) {
	t.Parallel()
	d := setupDoor(t, setup(t))
	require.Zero(t, d.deliver(t, "evt_1", "payment_intent.succeeded", "pi_of_somebody_else", "no order"))
	for i, body := range []string{
		`{}`, `[]`, `"x"`, `{"data":7}`, `{"type":"` + strings.Repeat("x", 1000) + `","created":-1}`,
		`{"created":99999999999999}`, `{"created":1e400}`,
	} {
		id := fmt.Sprintf("odd_%d", i)
		require.NoError(t, d.Receive(t.Context(), signed(t, id, []byte(body), time.Now(), secret), []byte(body)), body)
	}
	left, err := d.Process(t.Context())
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, 8, d.counted(t, "unknown"))
	unknown := "unknown"
	events, next, err := inbox.List(t.Context(), d.Pool, inbox.Filter{Outcome: &unknown, Limit: 5})
	require.NoError(t, err)
	require.Len(t, events, 5)
	rest, end, err := inbox.List(t.Context(), d.Pool, inbox.Filter{Outcome: &unknown, Limit: 5, Cursor: next})
	require.NoError(t, err)
	require.Len(t, rest, 3)
	require.Nil(t, end)
	require.Equal(t, "evt_1", rest[2].EventID)
	require.JSONEq(t, string(event("evt_1", "payment_intent.succeeded", "pi_of_somebody_else", "no order")),
		string(rest[2].Payload))
}

func TestWebhook_twice_is_once(t *testing.T) {
	t.Parallel()
	d := setupDoor(t, setup(t))
	body := event("evt_1", "payment_intent.succeeded", "pi_1", "")
	var deliveries sync.WaitGroup
	for range 20 {
		deliveries.Go(func() {
			assert.NoError(t, d.Receive(t.Context(), signed(t, "evt_1", body, time.Now(), secret), body))
		})
	}
	deliveries.Wait()
	require.Equal(t, 1, d.counted(t, "received"))
	require.Equal(t, 19, d.counted(t, "duplicate"))
	_, err := d.Process(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Receive(t.Context(), signed(t, "evt_1", body, time.Now(), secret), body))
	require.Equal(t, 20, d.counted(t, "duplicate"))
	require.Equal(t, 1, d.counted(t, "unknown"))
}

func TestWebhook_old_ones_are_forgotten_when_they_were_looked_at(t *testing.T) {
	t.Parallel()
	d := setupDoor(t, setup(t))
	_, err := d.Pool.Exec(t.Context(), `
		INSERT INTO webhook_event (source, event_id, type, object_ref, reference, created_at, payload, received_at, outcome, processed_at)
		SELECT $1, n::text, '', '', '', now(), '', now() - n * interval '50 days', 'unknown', now()
		FROM generate_series(1, 1500) AS n`, strings.TrimPrefix(d.provider.server.URL, "http://"))
	require.NoError(t, err)
	require.Zero(t, d.deliver(t, "young", "x", "x", "x"))
	_, err = d.Pool.Exec(t.Context(), `
		UPDATE webhook_event SET received_at = now() - interval '1 year', outcome = NULL, processed_at = NULL
		WHERE event_id = '7'`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var ids []string
		err := d.Pool.QueryRow(t.Context(), `SELECT array_agg(event_id ORDER BY event_id) FROM webhook_event`).Scan(&ids)
		require.NoError(c, err)
		require.Equal(c, []string{"1", "7", "young"}, ids)
	}, 20*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

func TestSchema_webhooks_are_the_inboxes(t *testing.T) {
	t.Parallel()
	text, err := migrations.FS(payment.Participant).Open("00003_webhook_inbox.sql")
	require.NoError(t, err)
	defer text.Close()
	all, err := io.ReadAll(text)
	require.NoError(t, err)
	require.Contains(t, string(all), inbox.DDL)
}

// Over HTTP: what a stranger sends changes nothing, and both secrets are good while they are being changed.
func TestService_webhooks(t *testing.T) {
	t.Parallel()
	r := run(t)
	post := func(header http.Header, body []byte) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/webhooks/gateway",
			strings.NewReader(string(body)))
		require.NoError(t, err)
		request.Header = header.Clone()
		request.Header.Set("Content-Type", "application/json")
		response, err := r.http.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		problem := struct{ Code string }{}
		_ = json.NewDecoder(response.Body).Decode(&problem) // 204 has none
		return response.StatusCode, problem.Code
	}
	body := event("evt_1", "payment_intent.succeeded", "pi_404", "")
	now := time.Now()
	good := signed(t, "evt_1", body, now, secret)
	for _, test := range []struct {
		name   string
		header http.Header
		body   []byte
		status int
		code   httpserver.Code
	}{
		{"not signed", http.Header{}, body, 401, httpserver.CodeSignatureInvalid},
		{
			"another secret", signed(t, "evt_1", body, now, "whsec_"+strings.Repeat("QUJD", 8)), body, 401,
			httpserver.CodeSignatureInvalid,
		},
		{
			"another body", good, event("evt_1", "payment_intent.canceled", "pi_404", ""), 401,
			httpserver.CodeSignatureInvalid,
		},
		{"another space", good, append([]byte(" "), body...), 401, httpserver.CodeSignatureInvalid},
		{"played back", signed(t, "evt_1", body, now.Add(-time.Hour), secret), body, 401, httpserver.CodeSignatureExpired},
		{"of the future", signed(t, "evt_1", body, now.Add(time.Hour), secret), body, 401, httpserver.CodeSignatureExpired},
		{"no JSON", good, []byte("x"), 400, httpserver.CodeMalformedJSON},
		{"too large", good, []byte(`"` + strings.Repeat("x", 64<<10) + `"`), 413, httpserver.CodeBodyTooLarge},
		{"sound", good, body, 204, ""},
		{"again", signed(t, "evt_1", body, now, secret), body, 204, ""},
		{"by the old secret", signed(t, "evt_2", body, now, oldSecret), body, 204, ""},
		{"by a newer one too", signed(t, "evt_3", body, now, "whsec_"+strings.Repeat("QUJD", 8), secret), body, 204, ""},
	} {
		status, code := post(test.header, test.body)
		require.Equal(t, test.status, status, test.name)
		require.Equal(t, string(test.code), code, test.name)
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		outcome, object := paymentapi.WebhookOutcomeUnknown, "pi_404"
		page, err := r.api.ListWebhookEventsWithResponse(t.Context(), &paymentapi.ListWebhookEventsParams{
			Outcome: &outcome, ObjectRef: &object,
		})
		require.NoError(c, err)
		require.NotNil(c, page.JSON200, string(page.Body))
		require.Len(c, page.JSON200.Events, 3)
		ids := make([]string, 0, 3)
		for _, e := range page.JSON200.Events {
			require.Equal(c, string(body), e.Payload)
			ids = append(ids, e.EventID)
		}
		// The newest comes first, by a clock that is read anew between two of them, so that either may be the newer.
		require.ElementsMatch(c, []string{"evt_1", "evt_2", "evt_3"}, ids)
	}, 20*time.Second, 10*time.Millisecond)
	cursor := "not-a-cursor"
	page, err := r.api.ListWebhookEventsWithResponse(t.Context(), &paymentapi.ListWebhookEventsParams{Cursor: &cursor})
	require.NoError(t, err)
	require.Equal(t, "cursor_invalid", page.ApplicationProblemJSONDefault.Code)
}

// The whole path, with a probe that would come after an hour: the answer to the capture is lost, and the webhook alone
// makes the service ask.
func TestService_a_webhook_instead_of_a_probe(t *testing.T) {
	t.Parallel()
	r := runWith(t, func(c *payment.Config) { c.ProbeDelays = []time.Duration{time.Hour} })
	meta := workertest.Meta(authorizeStep)
	r.send(t, authorize(meta, "tok_visa"))
	require.NotNil(t, r.receive(t, 1)[meta.GetOrderId()].GetDone())
	r.provider.next(payment.CallCapture, dropAfter)
	r.send(t, capture(meta))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		desk, err := r.api.ListOperationsWithResponse(t.Context(), &paymentapi.ListOperationsParams{
			State: paymentapi.ListOperationsParamsStateUnknown,
		})
		require.NoError(c, err)
		require.Len(c, desk.JSON200.Operations, 1)
	}, 20*time.Second, 10*time.Millisecond)

	body := event("evt_1", "payment_intent.succeeded", "pi_1", meta.GetOrderId())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/webhooks/gateway",
		strings.NewReader(string(body)))
	require.NoError(t, err)
	request.Header = signed(t, "evt_1", body, time.Now(), secret)
	request.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.NotNil(t, r.receive(t, 1)[meta.GetOrderId()].GetDone())
	require.Equal(t, 1, r.provider.count("capture"))
}
