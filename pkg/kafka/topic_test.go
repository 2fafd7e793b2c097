package kafka_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

func TestTopics(t *testing.T) {
	t.Parallel()
	topics := kafka.Topics("shop")
	require.Equal(t, "shop.inventory.commands.v1", topics.CommandTopic("inventory"))
	require.Equal(t, "shop.inventory.replies.v1", topics.ReplyTopic("inventory"))
	require.Equal(t, "shop.orders.events.v1", topics.OrderEventsTopic())
	require.Equal(t, "shop.payment.events.v1", topics.ServiceEventsTopic("payment"))
	require.Equal(t, "shop.payment", topics.Group("payment"))
	require.Equal(t, kafka.Topics("recourse"), kafka.Config{}.Topics())
}

func TestEnsureTopics_twice(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t)
	topic := config.Topics().CommandTopic("inventory")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic))
	require.NoError(t, kafka.CheckTopics(t.Context(), config, kafkatest.Log(t), topic))

	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	settings, err := kadm.NewClient(client).DescribeTopicConfigs(t.Context(), topic)
	require.NoError(t, err)
	require.Len(t, settings, 1)
	seen := map[string]string{}
	for _, setting := range settings[0].Configs {
		seen[setting.Key] = setting.MaybeValue()
	}
	require.Equal(t, "LogAppendTime", seen["message.timestamp.type"])
	require.Equal(t, "delete", seen["cleanup.policy"])
}

func TestCheckTopics_missing(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t)
	err := kafka.CheckTopics(t.Context(), config, kafkatest.Log(t),
		config.Topics().CommandTopic("inventory"), config.Topics().ReplyTopic("inventory"))
	require.ErrorContains(t, err, config.TopicPrefix+".inventory.commands.v1 is not there: run `migrate`")
	require.ErrorContains(t, err, config.TopicPrefix+".inventory.replies.v1 is not there")
	require.ErrorContains(t, err, "KAFKA_TOPIC_PREFIX")
}

func TestCheckTopics_other_partition_count(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t, "inventory.commands.v1")
	other := config
	other.Partitions = 7
	topic := config.Topics().CommandTopic("inventory")
	for name, check := range map[string]error{
		"check":  kafka.CheckTopics(t.Context(), other, kafkatest.Log(t), topic),
		"ensure": kafka.EnsureTopics(t.Context(), other, kafkatest.Log(t), topic),
	} {
		require.ErrorContains(t, check, topic+" has 4 partitions, KAFKA_PARTITIONS=7", name)
		require.ErrorContains(t, check, "set KAFKA_PARTITIONS=4, or", name)
		require.ErrorContains(t, check, "new KAFKA_TOPIC_PREFIX", name)
	}
}

func TestCheckTopics_broker_away(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = kafka.CheckTopics(ctx, kafka.Config{Brokers: []string{addr}}, kafkatest.Log(t), "any")
	require.ErrorContains(t, err, "KAFKA_BROKERS="+addr)
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	sound := func(change func(*kafka.Config)) kafka.Config {
		c := kafka.Config{Brokers: []string{"localhost:9092"}}
		change(&c)
		return c
	}
	require.NoError(t, sound(func(*kafka.Config) {}).Validate())
	for _, test := range []struct {
		name   string
		config kafka.Config
		want   string
	}{
		{"no brokers", kafka.Config{}, "KAFKA_BROKERS is required"},
		{"prefix", sound(func(c *kafka.Config) { c.TopicPrefix = "a b" }), `KAFKA_TOPIC_PREFIX="a b"`},
		{"partitions", sound(func(c *kafka.Config) { c.Partitions = -1 }), "KAFKA_PARTITIONS=-1"},
		{"replication", sound(func(c *kafka.Config) { c.Replication = -1 }), "KAFKA_REPLICATION=-1"},
		{"session", sound(func(c *kafka.Config) { c.SessionTimeout = time.Millisecond }), "KAFKA_SESSION_TIMEOUT=1ms"},
		{"buffer", sound(func(c *kafka.Config) { c.MaxBufferedBytes = -5 }), "KAFKA_MAX_BUFFERED_BYTES=-5"},
		{"mechanism", sound(func(c *kafka.Config) { c.SASLMechanism = "PLAIN" }), `KAFKA_SASL_MECHANISM="PLAIN"`},
		{"no password", sound(func(c *kafka.Config) { c.SASLUsername = "u" }), "KAFKA_SASL_PASSWORD"},
		{"no key", sound(func(c *kafka.Config) { c.TLS, c.TLSCert = true, "cert.pem" }), "KAFKA_TLS_KEY"},
		{"no TLS", sound(func(c *kafka.Config) { c.TLSCA = "ca.pem" }), "without KAFKA_TLS=true"},
		{"rebalance", sound(func(c *kafka.Config) { c.RebalanceTimeout = time.Second }), "KAFKA_REBALANCE_TIMEOUT=1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, test.config.Validate(), test.want)
		})
	}
}
