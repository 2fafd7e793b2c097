package notification_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	notificationapi "recourse.dev/schemas/gen/api/notification"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	"recourse.dev/services/notification"
)

// running is the whole service: broker, database, mail server and API.
type running struct {
	server   *mailServer
	producer *kgo.Client
	replies  *kgo.Client
	topics   kafka.Topics
	api      *notificationapi.ClientWithResponses
	http     *http.Client
	url      string
	pool     *pgxpool.Pool
}

func run(t *testing.T) *running {
	t.Helper()
	server := newMailServer(t)
	config := notification.Config{
		Settings:     service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 20 * time.Second},
		Kafka:        kafkatest.Config(t),
		DatabaseURL:  service.Secret(pgtest.URL(t, nil)),
		SMTPAddr:     server.addr,
		SMTPFrom:     "orders@shop.example",
		SMTPFromName: "Shop",
		SMTPTLS:      notification.TLSNone,
		SMTPTimeout:  5 * time.Second,
		SMTPConns:    4,
		GiveUpAfter:  time.Hour,
		ProbeDelays:  []time.Duration{10 * time.Millisecond},
		ProbeEvery:   10 * time.Millisecond,
	}
	log := kafkatest.Log(t)
	_, err := notification.New(t.Context(), config, log)
	require.ErrorContains(t, err, "migrate", "a database without tables is refused")
	require.NoError(t, notification.Migrate(t.Context(), config, log))
	require.NoError(t, notification.Migrate(t.Context(), config, log), "migrating twice changes nothing")

	s, err := notification.New(t.Context(), config, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
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
		kgo.ConsumeTopics(config.Kafka.Topics().ReplyTopic("notification")))
	require.NoError(t, err)
	t.Cleanup(replies.Close)
	url := "http://" + s.Addr()
	client := &http.Client{Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	api, err := notificationapi.NewClientWithResponses(url, notificationapi.WithHTTPClient(client))
	require.NoError(t, err)
	pool := pgtest.Pool(t, config.DatabaseURL.Reveal())
	return &running{server, producer, replies, config.Kafka.Topics(), api, client, url, pool}
}

func (r *running) send(t *testing.T, commands ...worker.Input) {
	t.Helper()
	records := make([]*kgo.Record, len(commands))
	for i, c := range commands {
		var err error
		records[i], err = message.Encode(r.topics.CommandTopic("notification"), c.GetMeta().GetOrderId(),
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

func TestService(t *testing.T) {
	t.Parallel()
	r := run(t)
	ctx := t.Context()

	closed := confirm()
	record := event(t, closed.GetMeta().GetOrderId(),
		&orderv1.OrderClosed{OrderId: closed.GetMeta().GetOrderId(), Revision: 9})
	record.Topic = r.topics.OrderEventsTopic()
	bad := &kgo.Record{Topic: record.Topic, Key: []byte("x"), Value: []byte("no event")}
	require.NoError(t, kafka.Produce(ctx, r.producer, []*kgo.Record{bad, record}))
	// Until the junk is parked and the claim is kept.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		page, err := r.api.ListDeadLettersWithResponse(ctx, nil)
		require.NoError(c, err)
		require.NotNil(c, page.JSON200)
		require.Len(c, page.JSON200.DeadLetters, 1)
		require.Equal(c, "undecodable", page.JSON200.DeadLetters[0].Reason)
		require.Positive(c, r.claims(ctx, c))
	}, 20*time.Second, 20*time.Millisecond)

	bounced := confirm()
	r.server.fail(rcptRefused)
	r.send(t, bounced)
	replies := r.receive(t, 1)
	require.Equal(t, "bounced", replies[bounced.GetMeta().GetOrderId()].GetRefused().GetCode())
	r.server.fail(dropAfterData, rcptLater, dropAtMail)
	r.send(t, closed)
	sent := make([]string, 8)
	for i := range sent {
		do := confirm()
		sent[i] = do.GetMeta().GetOrderId()
		r.send(t, do)
	}
	replies = r.receive(t, 9)
	require.Equal(t, "suppressed", replies[closed.GetMeta().GetOrderId()].GetRefused().GetCode())
	for _, order := range sent {
		require.NotNil(t, replies[order].GetDone(), replies[order])
	}
	require.Equal(t, len(sent), r.server.distinct())

	t.Run("ready", func(t *testing.T) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/readyz?verbose", nil)
		require.NoError(t, err)
		response, err := r.http.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	})
	t.Run("totals", func(t *testing.T) {
		totals, err := r.api.GetTotalsWithResponse(ctx)
		require.NoError(t, err)
		require.Equal(t, &notificationapi.Totals{Sent: 8, Suppressed: 1, Bounced: 1}, totals.JSON200)
	})
	t.Run("pages and filters", func(t *testing.T) {
		seen := make(map[uuid.UUID]bool)
		var cursor *string
		limit := 4
		for pages := 0; ; pages++ {
			require.Less(t, pages, 3)
			page, err := r.api.ListNotificationsWithResponse(ctx,
				&notificationapi.ListNotificationsParams{Limit: &limit, Cursor: cursor})
			require.NoError(t, err)
			require.NotNil(t, page.JSON200, string(page.Body))
			for _, n := range page.JSON200.Notifications {
				require.False(t, seen[n.NotificationID], "no notification on two pages")
				seen[n.NotificationID] = true
			}
			if cursor = page.JSON200.NextCursor; cursor == nil {
				break
			}
		}
		require.Len(t, seen, 10)
		state, order := notificationapi.NotificationStateBounced, uuid.MustParse(bounced.GetMeta().GetOrderId())
		page, err := r.api.ListNotificationsWithResponse(ctx,
			&notificationapi.ListNotificationsParams{State: &state, OrderID: &order})
		require.NoError(t, err)
		require.Len(t, page.JSON200.Notifications, 1)
		require.Contains(t, *page.JSON200.Notifications[0].Detail, "no such mailbox")
	})
	t.Run("one notification", func(t *testing.T) {
		id := uuid.MustParse(replies[sent[0]].GetDone().GetHandles()["notification_id"])
		response, err := r.api.GetNotificationWithResponse(ctx, id)
		require.NoError(t, err)
		n := response.JSON200
		require.NotNil(t, n, string(response.Body))
		require.Equal(t, notificationapi.NotificationStateSent, n.State)
		require.Equal(t, "<"+id.String()+"@shop.example>", n.MessageID)
		require.Equal(t, sent[0]+":order_confirmation:1", n.DedupeKey)
		require.Contains(t, n.Text, "Ada Lovelace")
		require.NotEmpty(t, n.Attempts)
		require.Equal(t, notificationapi.AttemptOutcomeAccepted, *n.Attempts[len(n.Attempts)-1].Outcome)
	})
	t.Run("problems", func(t *testing.T) {
		missing, err := r.api.GetNotificationWithResponse(ctx, uuid.New())
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, missing.StatusCode())
		require.Equal(t, "not_found", missing.ApplicationProblemJSONDefault.Code)
		cursor := "not-a-cursor"
		bad, err := r.api.ListNotificationsWithResponse(ctx, &notificationapi.ListNotificationsParams{Cursor: &cursor})
		require.NoError(t, err)
		require.Equal(t, "cursor_invalid", bad.ApplicationProblemJSONDefault.Code)
		state := notificationapi.NotificationState("lost")
		bad, err = r.api.ListNotificationsWithResponse(ctx, &notificationapi.ListNotificationsParams{State: &state})
		require.NoError(t, err)
		require.Equal(t, "validation_failed", bad.ApplicationProblemJSONDefault.Code, string(bad.Body))
	})
	t.Run("dead letters", func(t *testing.T) {
		workertest.DeadLetters(t, r.url, bad)
	})
}

// claims counts the orders that the service has heard of.
func (r *running) claims(ctx context.Context, t require.TestingT) (n int) {
	require.NoError(t, r.pool.QueryRow(ctx, `SELECT count(*) FROM order_claim`).Scan(&n))
	return n
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	_, err := notification.New(t.Context(), notification.Config{}, kafkatest.Log(t))
	for _, setting := range []string{"SMTP_TIMEOUT", "GIVE_UP_AFTER", "PROBE_DELAYS", "DATABASE_URL", "KAFKA_BROKERS"} {
		require.ErrorContains(t, err, setting)
	}
}
