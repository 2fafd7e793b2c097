package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

func TestRetention(t *testing.T) {
	t.Parallel()
	config, log := kafkatest.Config(t), kafkatest.Log(t)
	a, b := config.Topics().CommandTopic("a"), config.Topics().CommandTopic("b")
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, log, a, b))
	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	set := func(topic, value string) {
		_, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr(value)},
		}, topic)
		require.NoError(t, err)
	}
	// Apache Kafka's controller answers before its brokers know.
	requireLongest := func(want time.Duration) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assertT) {
			longest, err := kafka.Retention(t.Context(), config, log, a, b)
			require.NoError(c, err)
			require.Equal(c, want, longest)
		}, wait, 50*time.Millisecond)
	}
	set(a, "3600000")
	set(b, "7200000")
	requireLongest(2 * time.Hour)
	set(b, "-1")
	requireLongest(0) // for ever
	_, err = kafka.Retention(t.Context(), config, log, config.Topics().CommandTopic("nobody"))
	require.Error(t, err)
}
