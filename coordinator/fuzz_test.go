package coordinator_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/order"
	"recourse.dev/migrations"
	"recourse.dev/pkg/httpserver/apitest"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/service"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// fuzzed runs a coordinator to which no participant answers.
func fuzzed(f *testing.F) (*coordinator.Service, coordinator.Config) {
	f.Helper()
	config := coordinator.Config{
		Settings: service.Settings{HTTPAddr: "127.0.0.1:0", DrainTimeout: 15 * time.Second},
		Kafka:    kafkatest.Config(f), DatabaseURL: service.Secret(pgtest.URL(f, migrations.FS("coordinator"))),
		OrderDeadline: time.Hour, AnswerTimeout: time.Hour, OutsideTimeout: time.Hour, ResendMax: time.Hour, GiveUp: 5,
		ScanInterval: time.Second,
	}
	log := slog.New(slog.DiscardHandler)
	require.NoError(f, coordinator.Migrate(f.Context(), config, log))
	c, err := coordinator.New(f.Context(), config, log)
	require.NoError(f, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		require.NoError(f, <-done)
	})
	return c, config
}

// No request is answered with a breakdown or with what the API's description does not say.
func FuzzAPI(f *testing.F) {
	c, _ := fuzzed(f)
	spec, err := coordinatorapi.GetSpec()
	require.NoError(f, err)
	sound, err := json.Marshal(newOrder())
	require.NoError(f, err)
	foreign, err := json.Marshal(newOrder(map[string]any{"currency": "JPY", "shop": "\u00e9\u0000", "locale": "x"}))
	require.NoError(f, err)
	apitest.Fuzz(f, spec, c.Handler(), string(sound), string(foreign), `{"reason": "changed my mind"}`,
		`{"type": "retry", "step": "reserve_stock", "operator": "ann", "reason": "\u0000"}`,
		`{"type": "settle", "step": "reserve_stock", "operator": "ann", "reason": "seen", "evidence": "\ud800"}`)
}

// Whatever a participant answers, its record is applied or parked, the saga it names can still be read, and the poll
// that brought it goes on.
func FuzzReplies(f *testing.F) {
	c, config := fuzzed(f)
	definition, err := order.Fulfilment(order.DefaultTiming)
	require.NoError(f, err)
	for i, outcome := range []*sagav1.Reply{
		{Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{Effects: []*sagav1.Effect{{Kind: "stock", Amount: 1}}}}},
		{Outcome: &sagav1.Reply_Done{Done: &sagav1.Done{Handles: map[string]string{"\x00": "\x00"}}}},
		{Outcome: &sagav1.Reply_Refused{Refused: &sagav1.Refused{Code: "\x00", Detail: "\x00"}}},
		{Outcome: &sagav1.Reply_InDoubt{InDoubt: &sagav1.InDoubt{Reason: "\x00"}}},
		{Outcome: &sagav1.Reply_Fenced{}, EffectSeq: 1 << 31},
		{Attempt: 1 << 31},
	} {
		value, err := proto.Marshal(outcome)
		require.NoError(f, err)
		f.Add(uint8(i), "recourse.saga.v1.Reply", "id", value, true)
		f.Add(uint8(i), "recourse.saga.v1.Reply", "\x00", value, false)
	}
	topics := config.Kafka.Topics()
	offset := int64(0)
	f.Fuzz(func(t *testing.T, number uint8, name, id string, value []byte, sound bool) {
		orders := accept(t.Context(), t, c, uuid.NewString(), 1)
		step := definition.Steps()[int(number)%len(definition.Steps())]
		// A reply that names what was asked for, so that its content matters.
		var reply sagav1.Reply
		if sound && proto.Unmarshal(value, &reply) == nil {
			step = definition.Steps()[0]
			reply.SagaId, reply.OrderId, reply.Step, reply.Generation = orders[0].String(), orders[0].String(), step.Name, 1
			reply.Operation, reply.EffectSeq = sagav1.Operation_OPERATION_DO, 1
			if encoded, err := proto.Marshal(&reply); err == nil {
				value = encoded
			}
		}
		offset++
		require.NoError(t, c.HandleReplies(t.Context(), []*kgo.Record{{
			Topic: topics.ReplyTopic(step.Participant), Key: []byte(orders[0].String()), Value: value, Offset: offset,
			Timestamp: time.Now(),
			Headers: []kgo.RecordHeader{
				{Key: message.HeaderSpecVersion, Value: []byte("1.0")},
				{Key: message.HeaderID, Value: []byte(id)},
				{Key: message.HeaderType, Value: []byte(name)},
				{Key: message.HeaderSource, Value: []byte("participant/" + step.Participant)},
				{Key: message.HeaderContentType, Value: []byte("application/protobuf")},
			},
		}}))
		for _, path := range []string{"/v1/orders/", "/v1/sagas/"} {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path+orders[0].String(), http.NoBody)
			answer := httptest.NewRecorder()
			c.Handler().ServeHTTP(answer, request)
			require.Equal(t, http.StatusOK, answer.Code, answer.Body)
		}
	})
}
