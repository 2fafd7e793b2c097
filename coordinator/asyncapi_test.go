package coordinator_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/clock"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/message"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// The description of the public topic names the events that there are, and the headers that a record has.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../schemas/asyncapi/orders.yaml")
	require.NoError(t, err)
	var described struct {
		Channels struct {
			Orders struct {
				Address  string
				Messages map[string]any
			}
		}
		Components struct {
			Messages map[string]struct {
				Payload struct{ Schema string }
			}
			MessageTraits struct {
				Event struct {
					Headers struct {
						Required   []string
						Properties map[string]struct{ Const string }
					}
				}
			} `yaml:"messageTraits"`
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &described))
	require.Equal(t, kafka.Topics("recourse").OrderEventsTopic(), described.Channels.Orders.Address)

	events := map[string]bool{}
	messages := orderv1.File_recourse_order_v1_events_proto.Messages()
	for i := range messages.Len() {
		if name := messages.Get(i).Name(); !strings.HasPrefix(string(name), "Outbox") {
			events[string(name)] = true
			require.Contains(t, described.Channels.Orders.Messages, string(name))
			require.Equal(t, string(messages.Get(i).FullName()), described.Components.Messages[string(name)].Payload.Schema)
		}
	}
	require.Len(t, described.Channels.Orders.Messages, len(events))
	require.Len(t, described.Components.Messages, len(events))

	id := uuid.NewString()
	body, err := proto.Marshal(&orderv1.OrderConfirmed{OrderId: id})
	require.NoError(t, err)
	record, err := message.Encoded("t", id, "recourse.order.v1.OrderConfirmed", body, message.Event{
		ID: uuid.NewString(), Source: coordinator.Source, Subject: id, CorrelationID: uuid.NewString(), Time: clock.Now(),
	})
	require.NoError(t, err)
	headers := described.Components.MessageTraits.Event.Headers
	var sent []string
	for _, h := range record.Headers {
		sent = append(sent, h.Key)
		if constant := headers.Properties[h.Key].Const; constant != "" {
			require.Equal(t, constant, string(h.Value), h.Key)
		}
	}
	require.ElementsMatch(t, headers.Required, sent)
}
