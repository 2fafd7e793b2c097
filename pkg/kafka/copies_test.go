package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/service"
)

// threeBrokers is a cluster as production has one.
func threeBrokers(t *testing.T) (kafka.Config, *kadm.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return kafka.Config{Brokers: cluster.ListenAddrs(), Partitions: 4, Mode: service.Production}, kadm.NewClient(client)
}

func TestCheckTopics_in_production(t *testing.T) {
	t.Parallel()
	config, admin := threeBrokers(t)
	topic := config.Topics().CommandTopic("inventory")
	check := func() error { return kafka.CheckTopics(t.Context(), config, kafkatest.Log(t), topic) }
	alter := func(key, value string) {
		t.Helper()
		answers, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: key, Value: &value}}, topic)
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
	}
	require.NoError(t, kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic), "migrate makes what serve accepts")
	require.NoError(t, check())

	alter("min.insync.replicas", "1")
	require.ErrorContains(t, check(), "topic "+topic+" has min.insync.replicas=1: ")
	require.ErrorContains(t, check(), "--entity-name "+topic+" --add-config min.insync.replicas=2")
	require.ErrorContains(t, check(), "RECOURSE_MODE=development")
	alter("min.insync.replicas", "2")

	alter("unclean.leader.election.enable", "true")
	require.ErrorContains(t, check(), "topic "+topic+" has unclean.leader.election.enable=true: ")
	require.ErrorContains(t, check(), "--add-config unclean.leader.election.enable=false")

	config.Mode = service.Development
	require.NoError(t, check())
}

func TestCheckTopics_in_production_one_copy(t *testing.T) {
	t.Parallel()
	config, _ := threeBrokers(t)
	topic := config.Topics().CommandTopic("inventory")
	weak := config
	weak.Mode = service.Development
	require.NoError(t, kafka.EnsureTopics(t.Context(), weak, kafkatest.Log(t), topic))
	for name, err := range map[string]error{
		"serve":   kafka.CheckTopics(t.Context(), config, kafkatest.Log(t), topic),
		"migrate": kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), topic),
	} {
		require.ErrorContains(t, err, "topic "+topic+": partition 0 has 1 copies, want at least 2", name)
		require.ErrorContains(t, err, "kafka-reassign-partitions.sh", name)
	}
	for _, few := range []int16{1, 2} {
		config.Replication = few
		require.ErrorContains(t, config.Validate(), fmt.Sprintf("KAFKA_REPLICATION=%d: want 3 or more in production", few))
	}
}

func TestEnsureTopics_in_production_on_one_broker(t *testing.T) {
	t.Parallel()
	config := kafkatest.Config(t)
	config.Mode, config.Replication = service.Production, 0
	err := kafka.EnsureTopics(t.Context(), config, kafkatest.Log(t), config.Topics().CommandTopic("inventory"))
	require.ErrorContains(t, err, "KAFKA_REPLICATION=3 is more than the cluster has brokers")
	require.ErrorContains(t, err, "RECOURSE_MODE=development")

	config.Mode = "prod"
	require.ErrorContains(t, config.Validate(), `RECOURSE_MODE="prod": want production or development`)
}
