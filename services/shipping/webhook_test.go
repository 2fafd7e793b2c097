package shipping_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	shippingapi "recourse.dev/schemas/gen/api/shipping"
	"recourse.dev/services/shipping"
)

const webhookSecret = "whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QncyBjYXJyaWVy"

func signed(t *testing.T, id string, body []byte) http.Header {
	t.Helper()
	keys, err := webhook.ParseKeys(webhookSecret)
	require.NoError(t, err)
	header := http.Header{}
	webhook.Sign(header, keys, id, time.Now(), body)
	return header
}

// A purchase and a refund whose answers are lost: the carrier's events make the questions due, and the carrier's answers
// decide, whatever the events say.
func TestWebhook_resolves_what_is_in_doubt_before_its_probe(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("shipping"))
	fake := newFakeCarrier(t)
	h := shipping.NewHandler(pool, fake.carrier(t, 5*time.Second), time.Nanosecond)
	t.Cleanup(h.Close)
	kit := workertest.New(t, pool, h.Register, func(c *worker.Config) { c.ProbeDelays = []time.Duration{time.Hour} })
	b := &bundle{kit, fake, pool}
	keys, err := webhook.ParseKeys(webhookSecret)
	require.NoError(t, err)
	box := shipping.NewInbox(pool, kit.Worker, keys, slog.New(slog.DiscardHandler))
	t.Cleanup(box.Close)
	deliver := func(id, carrierRef, reference string) {
		body := fmt.Appendf(nil, `{"id":%q,"description":"refund.failed","created_at":"2026-01-02T03:04:05Z",`+
			`"result":{"shipment_id":%q,"reference":%q}}`, id, carrierRef, reference)
		require.NoError(t, box.Receive(t.Context(), signed(t, id, body), body))
		left, err := box.Process(t.Context())
		require.NoError(t, err)
		require.Zero(t, left)
	}

	fake.fail("buy", dropAfter)
	do := create()
	require.NotNil(t, b.Do(t, do).GetInDoubt())
	require.Empty(t, b.ResolveDue(t))
	saga := uuid.MustParse(do.GetMeta().GetSagaId())
	ours := shipping.ShipmentID(saga, worker.EffectKey(saga, do.GetMeta().GetStep(), int(do.GetMeta().GetGeneration()))).String()
	deliver("evt_1", "of somebody else", ours)
	replies := b.ResolveDue(t)
	require.Len(t, replies, 1)
	ref := replies[0].GetDone().GetHandles()["carrier_ref"]
	require.NotEmpty(t, ref)
	deliver("evt_2", ref, ours)
	require.Empty(t, b.ResolveDue(t), "late")

	fake.fail("refund", dropAfter)
	require.NotNil(t, b.Undo(t, cancelOf(do)).GetInDoubt())
	deliver("evt_3", ref, "no id of ours")
	replies = b.ResolveDue(t)
	require.Len(t, replies, 1)
	require.NotNil(t, replies[0].GetUndone())
	deliver("evt_4", "nothing", "nothing")

	events, _, err := inbox.List(t.Context(), pool, inbox.Filter{Limit: 10})
	require.NoError(t, err)
	outcomes := map[string]string{}
	for i := range events {
		outcomes[events[i].EventID] = events[i].OutcomeText()
	}
	require.Equal(t, map[string]string{
		"evt_1": "woke", "evt_2": "settled", "evt_3": "woke", "evt_4": "unknown",
	}, outcomes)
}

func TestSchema_webhooks_are_the_inboxes(t *testing.T) {
	t.Parallel()
	file, err := migrations.FS("shipping").Open("00003_webhook_inbox.sql")
	require.NoError(t, err)
	defer file.Close()
	text, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Contains(t, string(text), inbox.DDL)
}

// The whole path, with a probe that would come after an hour.
func TestService_a_webhook_instead_of_a_probe(t *testing.T) {
	t.Parallel()
	r := runWith(t, func(c *shipping.Config) { c.ProbeDelays = []time.Duration{time.Hour} })
	r.fake.fail("buy", dropAfter)
	do := create()
	r.send(t, do)
	var id string
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		state := shippingapi.ShipmentStateLabelUnknown
		page, err := r.api.ListShipmentsWithResponse(t.Context(), &shippingapi.ListShipmentsParams{State: &state})
		require.NoError(c, err)
		require.Len(c, page.JSON200.Shipments, 1)
		id = page.JSON200.Shipments[0].ShipmentID.String()
	}, 20*time.Second, 10*time.Millisecond)
	body := fmt.Appendf(nil, `{"id":"evt_1","description":"tracker.created","result":{"reference":%q}}`, id)
	post := func(header http.Header) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/webhooks/carrier",
			strings.NewReader(string(body)))
		require.NoError(t, err)
		request.Header = header
		request.Header.Set("Content-Type", "application/json")
		response, err := r.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, http.StatusUnauthorized, post(http.Header{}))
	require.Equal(t, http.StatusNoContent, post(signed(t, "evt_1", body)))
	require.NotNil(t, r.receive(t, 1)[do.GetMeta().GetOrderId()].GetDone())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		outcome := shippingapi.WebhookOutcomeWoke
		page, err := r.api.ListWebhookEventsWithResponse(t.Context(), &shippingapi.ListWebhookEventsParams{
			Outcome: &outcome, Reference: &id,
		})
		require.NoError(c, err)
		require.Len(c, page.JSON200.Events, 1)
		require.Equal(c, string(body), page.JSON200.Events[0].Payload)
	}, 20*time.Second, 10*time.Millisecond)
}
