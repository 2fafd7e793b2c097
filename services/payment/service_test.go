package payment_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert" // for the type that EventuallyWithT hands in
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	paymentapi "recourse.dev/schemas/gen/api/payment"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/payment"
)

// running is the whole service: broker, database, provider and API.
type running struct {
	provider *provider
	producer *kgo.Client
	replies  *kgo.Client
	topics   kafka.Topics
	api      *paymentapi.ClientWithResponses
	http     *http.Client
	url      string
}

func run(t *testing.T) *running {
	t.Helper()
	return runWith(t, func(*payment.Config) {})
}

func runWith(t *testing.T, change func(*payment.Config)) *running {
	t.Helper()
	p := newProvider(t)
	config := payment.Config{
		Settings:          service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 20 * time.Second},
		Kafka:             kafkatest.Config(t),
		DatabaseURL:       service.Secret(pgtest.URL(t, nil)),
		GatewayURL:        p.server.URL,
		GatewayAPIKey:     "sk_test",
		GatewayVisibility: time.Millisecond,
		ProbeDelays:       []time.Duration{10 * time.Millisecond},
		ProbeEvery:        10 * time.Millisecond,

		WebhookSecret:         secret,
		WebhookSecretPrevious: oldSecret,
	}
	change(&config)
	log := kafkatest.Log(t)
	_, err := payment.New(t.Context(), config, log)
	require.ErrorContains(t, err, "migrate", "a database without tables is refused")
	require.NoError(t, payment.Migrate(t.Context(), config, log))
	require.NoError(t, payment.Migrate(t.Context(), config, log), "migrating twice changes nothing")

	s, err := payment.New(t.Context(), config, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	producer, err := kafka.NewProducer(config.Kafka, "test", log, nil)
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	replies, err := kgo.NewClient(kgo.SeedBrokers(config.Kafka.Brokers...),
		kgo.ConsumeTopics(config.Kafka.Topics().ReplyTopic(payment.Participant)))
	require.NoError(t, err)
	t.Cleanup(replies.Close)
	url := "http://" + s.Addr()
	client := &http.Client{Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	api, err := paymentapi.NewClientWithResponses(url, paymentapi.WithHTTPClient(client))
	require.NoError(t, err)
	return &running{p, producer, replies, config.Kafka.Topics(), api, client, url}
}

func (r *running) send(t *testing.T, commands ...worker.Input) {
	t.Helper()
	records := make([]*kgo.Record, len(commands))
	for i, c := range commands {
		var err error
		records[i], err = message.Encode(r.topics.CommandTopic(payment.Participant), c.GetMeta().GetOrderId(),
			message.Event{Source: "coordinator", Data: c})
		require.NoError(t, err)
	}
	require.NoError(t, kafka.Produce(t.Context(), r.producer, records))
}

// receive returns the next replies that are more than in_doubt, by order.
func (r *running) receive(t *testing.T, n int) map[string]*sagav1.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got := make(map[string]*sagav1.Reply, n)
	for len(got) < n {
		fetches := r.replies.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "got %d of %d replies", len(got), n)
		for _, record := range fetches.Records() {
			_, data, err := message.Decode(record)
			require.NoError(t, err)
			reply, ok := data.(*sagav1.Reply)
			require.True(t, ok)
			if reply.GetInDoubt() == nil {
				got[reply.GetOrderId()] = reply
			}
		}
	}
	return got
}

// The whole process: migrated, started, asked over Kafka, read over HTTP, stopped.
func TestService(t *testing.T) {
	t.Parallel()
	r := run(t)
	ctx := t.Context()

	orders := make([]*sagav1.CommandMeta, 10)
	commands := make([]worker.Input, len(orders))
	for i := range orders {
		orders[i] = workertest.Meta(authorizeStep)
		commands[i] = authorize(orders[i], "tok_visa")
	}
	declined := workertest.Meta(authorizeStep)
	r.provider.next(payment.CallConfirm, dropAfter, dropBefore, error500)
	r.send(t, append(commands, authorize(declined, "tok_declined"))...)
	replies := r.receive(t, 11)
	require.Equal(t, payment.CodeCardDeclined, replies[declined.GetOrderId()].GetRefused().GetCode())
	for _, meta := range orders {
		require.NotNil(t, replies[meta.GetOrderId()].GetDone())
	}
	captured, voided, stuck := orders[0], orders[1], orders[2]
	r.send(t, capture(captured), void(voided))
	answers := r.receive(t, 2)
	require.NotNil(t, answers[captured.GetOrderId()].GetDone())
	require.NotNil(t, answers[voided.GetOrderId()].GetUndone())
	// A capture that the provider never shows: every try gets lost.
	r.provider.next(payment.CallCapture, slices.Repeat([]fault{dropBefore}, 100_000)...)
	r.send(t, capture(stuck))
	junk := &kgo.Record{Topic: r.topics.CommandTopic(payment.Participant), Key: []byte("x"), Value: []byte("no command")}
	require.NoError(t, kafka.Produce(ctx, r.producer, []*kgo.Record{junk}))

	// The unknown desk.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		desk, err := r.api.ListOperationsWithResponse(ctx, &paymentapi.ListOperationsParams{
			State: paymentapi.ListOperationsParamsStateUnknown,
		})
		require.NoError(c, err)
		require.NotNil(c, desk.JSON200, string(desk.Body))
		require.Len(c, desk.JSON200.Operations, 1)
		o := desk.JSON200.Operations[0]
		require.Equal(c, stuck.GetOrderId(), o.OrderID.String())
		require.Equal(c, paymentapi.OperationKindCapture, o.Kind)
		require.Equal(c, int64(1999), o.AtRiskMinor)
		require.Equal(c, "EUR", o.Currency)
		require.NotNil(c, o.NextProbeAt)
		require.NotNil(c, o.UnknownSince)
		require.Contains(c, *o.UnknownReason, "no_answer")
		require.Positive(c, o.Probes)
	}, 20*time.Second, 20*time.Millisecond)

	t.Run("ready", func(t *testing.T) {
		t.Parallel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/readyz?verbose", nil)
		require.NoError(t, err)
		response, err := r.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	})
	t.Run("totals", func(t *testing.T) {
		t.Parallel()
		totals, err := r.api.GetTotalsWithResponse(ctx)
		require.NoError(t, err)
		want := paymentapi.MoneyTotals{Authorized: 19990, Captured: 1999, Voided: 1999, Held: 8 * 1999}
		require.Equal(t, &paymentapi.Totals{Currencies: []paymentapi.CurrencyTotals{{
			Currency: "EUR", Intents: want, Journal: want, InDoubt: 1999,
		}}}, totals.JSON200)
		require.Equal(t, 10, r.provider.count("authorize"))
		require.Equal(t, 8, r.provider.held())
	})
	t.Run("books", func(t *testing.T) {
		t.Parallel()
		var (
			rows  int
			sums  paymentapi.MoneyTotals
			last  uuid.UUID
			after *uuid.UUID
		)
		limit := 4
		for {
			page, err := r.api.ListBooksWithResponse(ctx, &paymentapi.ListBooksParams{AfterOrder: after, Limit: &limit})
			require.NoError(t, err)
			require.NotNil(t, page.JSON200, string(page.Body))
			for _, e := range page.JSON200.Entries {
				require.Less(t, last.String(), e.OrderID.String(), "by order")
				require.Equal(t, e.Intent, e.Journal)
				last = e.OrderID
				rows++
				sums.Authorized += e.Intent.Authorized
				sums.Captured += e.Intent.Captured
				sums.Voided += e.Intent.Voided
				sums.Held += e.Intent.Held
			}
			if after = page.JSON200.NextAfter; after == nil {
				break
			}
		}
		require.Equal(t, paymentapi.MoneyTotals{Authorized: 19990, Captured: 1999, Voided: 1999, Held: 8 * 1999}, sums)
		before := uuid.Nil
		page, err := r.api.ListBooksWithResponse(ctx, &paymentapi.ListBooksParams{ToOrder: &before})
		require.NoError(t, err)
		require.Empty(t, page.JSON200.Entries)
	})
	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		seen := make(map[uuid.UUID]bool)
		var cursor *string
		limit := 4
		for pages := 0; ; pages++ {
			require.Less(t, pages, 3)
			page, err := r.api.ListPaymentsWithResponse(ctx, &paymentapi.ListPaymentsParams{Limit: &limit, Cursor: cursor})
			require.NoError(t, err)
			require.NotNil(t, page.JSON200, string(page.Body))
			for _, p := range page.JSON200.Payments {
				require.False(t, seen[p.IntentID], "no payment on two pages")
				require.Nil(t, p.Operations)
				seen[p.IntentID] = true
			}
			if cursor = page.JSON200.NextCursor; cursor == nil {
				break
			}
		}
		require.Len(t, seen, 11)
	})
	t.Run("filters", func(t *testing.T) {
		t.Parallel()
		state := paymentapi.PaymentStateDeclined
		page, err := r.api.ListPaymentsWithResponse(ctx, &paymentapi.ListPaymentsParams{State: &state})
		require.NoError(t, err)
		require.Len(t, page.JSON200.Payments, 1)
		require.Equal(t, declined.GetOrderId(), page.JSON200.Payments[0].OrderID.String())
		order := uuid.MustParse(voided.GetOrderId())
		page, err = r.api.ListPaymentsWithResponse(ctx, &paymentapi.ListPaymentsParams{OrderID: &order})
		require.NoError(t, err)
		require.Len(t, page.JSON200.Payments, 1)
		require.Equal(t, paymentapi.PaymentStateVoided, page.JSON200.Payments[0].State)
		require.Zero(t, page.JSON200.Payments[0].HeldMinor)
	})
	t.Run("one payment", func(t *testing.T) {
		t.Parallel()
		id := uuid.MustParse(replies[captured.GetOrderId()].GetDone().GetHandles()["intent_id"])
		response, err := r.api.GetPaymentWithResponse(ctx, id)
		require.NoError(t, err)
		p := response.JSON200
		require.NotNil(t, p, string(response.Body))
		require.Equal(t, "R-1", p.Reference)
		require.NotNil(t, p.CaptureBefore)
		operations := *p.Operations
		require.Len(t, operations, 2)
		require.Equal(t, paymentapi.OperationKindCapture, operations[1].Kind)
		require.Equal(t, paymentapi.OperationStateSucceeded, operations[1].State)
		require.Equal(t, answers[captured.GetOrderId()].GetDone().GetHandles()["capture_ref"], *operations[1].GatewayRef)
		require.Equal(t, paymentapi.AttemptCallCapture, operations[1].Attempts[0].Call)
		require.Equal(t, paymentapi.AttemptOutcomeResponse, *operations[1].Attempts[0].Outcome)
		require.Equal(t, "req_1", *operations[1].Attempts[0].GatewayRequestID)
	})
	t.Run("problems", func(t *testing.T) {
		t.Parallel()
		missing, err := r.api.GetPaymentWithResponse(ctx, uuid.New())
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, missing.StatusCode())
		require.Equal(t, "not_found", missing.ApplicationProblemJSONDefault.Code)
		cursor := "not-a-cursor"
		bad, err := r.api.ListPaymentsWithResponse(ctx, &paymentapi.ListPaymentsParams{Cursor: &cursor})
		require.NoError(t, err)
		require.Equal(t, "cursor_invalid", bad.ApplicationProblemJSONDefault.Code)
		desk, err := r.api.ListOperationsWithResponse(ctx, &paymentapi.ListOperationsParams{
			State: paymentapi.ListOperationsParamsStateSent, Cursor: &cursor,
		})
		require.NoError(t, err)
		require.Equal(t, "cursor_invalid", desk.ApplicationProblemJSONDefault.Code)
		desk, err = r.api.ListOperationsWithResponse(ctx, &paymentapi.ListOperationsParams{State: "settled"})
		require.NoError(t, err)
		require.Equal(t, "validation_failed", desk.ApplicationProblemJSONDefault.Code, string(desk.Body))
	})
	t.Run("dead letters", func(t *testing.T) {
		t.Parallel()
		workertest.DeadLetters(t, r.url, junk)
	})
}

// The desk's pages go on where the last one ended, those first that have waited longest.
func TestListOperations_Pages(t *testing.T) {
	t.Parallel()
	r := run(t)
	r.provider.setOutage(true)
	const count = 7
	for range count {
		r.send(t, authorize(workertest.Meta(authorizeStep), "tok_visa"))
	}
	limit := 3
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var (
			cursor *string
			seen   = make(map[uuid.UUID]bool)
			last   time.Time
		)
		for {
			page, err := r.api.ListOperationsWithResponse(t.Context(), &paymentapi.ListOperationsParams{
				State: paymentapi.ListOperationsParamsStateUnknown, Limit: &limit, Cursor: cursor,
			})
			require.NoError(c, err)
			require.NotNil(c, page.JSON200, string(page.Body))
			for _, o := range page.JSON200.Operations {
				require.False(c, o.UnknownSince.Before(last))
				last = *o.UnknownSince
				seen[o.OperationID] = true
			}
			if cursor = page.JSON200.NextCursor; cursor == nil {
				break
			}
		}
		require.Len(c, seen, count)
	}, 20*time.Second, 50*time.Millisecond)
	r.provider.setOutage(false)
	for _, reply := range r.receive(t, count) {
		require.NotNil(t, reply.GetDone())
	}
	require.Equal(t, count, r.provider.held())
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	_, err := payment.New(t.Context(), payment.Config{
		GatewayURL: "gateway", GatewayTimeout: -1, GatewayVisibility: time.Hour, GatewayKeyLife: time.Minute,
		MaxCalls: -1, MaxBatch: -1, ProbeDelays: []time.Duration{-1},
	}, kafkatest.Log(t))
	for _, setting := range []string{
		"GATEWAY_URL", "GATEWAY_TIMEOUT", "GATEWAY_KEY_LIFE", "MAX_CALLS", "MAX_BATCH", "PROBE_DELAYS", "DATABASE_URL",
		"KAFKA_BROKERS",
	} {
		require.ErrorContains(t, err, setting)
	}
}

func TestConfig_FromEnvironment(t *testing.T) {
	t.Parallel()
	config, err := service.LoadEnv[payment.Config]([]string{
		"DATABASE_URL=postgres://localhost/payment", "KAFKA_BROKERS=localhost:9092", "GATEWAY_API_KEY=sk_live",
	})
	require.NoError(t, err)
	require.Equal(t, 23*time.Hour, config.GatewayKeyLife)
	require.Len(t, config.ProbeDelays, 7)
	require.NotContains(t, config.GatewayAPIKey.String(), "sk_live")
	_, err = service.LoadEnv[payment.Config]([]string{
		"DATABASE_URL=postgres://localhost/payment", "KAFKA_BROKERS=localhost:9092", "GATEWAY_TIMEOUT=soon",
	})
	require.ErrorContains(t, err, "GATEWAY_TIMEOUT")
}
