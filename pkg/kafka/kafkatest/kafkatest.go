// Package kafkatest gives a test its own topics: on the broker that KAFKA_BROKERS names, or on an embedded one.
package kafkatest

import (
	"context"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/embedded"
)

// Config returns a configuration with a topic prefix that no other test has, and makes the named topics, which are
// given without the prefix's dot: "inventory.commands.v1". Partitions is 4.
//
// With KAFKA_BROKERS set the test runs against that broker, else against an embedded one of its own.
func Config(tb testing.TB, topics ...string) kafka.Config {
	tb.Helper()
	config := kafka.Config{
		// A topic name cannot hold every test's name, and a name alone would meet the topics of the run before.
		TopicPrefix: "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:16],
		Partitions:  4,
		Replication: 1,
		// Short, so that a test of a lost member or broker ends soon; the broker's own least session is 6s.
		SessionTimeout:   6 * time.Second,
		RebalanceTimeout: 20 * time.Second,
		DeliveryTimeout:  10 * time.Second,
	}
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		config.Brokers = strings.Split(brokers, ",")
	} else {
		// A test may write before the group that reads it is there, and for longer than the broker waits to forget.
		broker, err := embedded.Start(embedded.Options{Keep: math.MaxInt})
		require.NoError(tb, err)
		tb.Cleanup(broker.Close)
		config.Brokers = broker.Addrs()
	}
	if len(topics) > 0 {
		Create(tb, config, topics...)
	}
	return config
}

// Create makes more topics, named as for Config.
func Create(tb testing.TB, config kafka.Config, topics ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = config.TopicPrefix + "." + topic
	}
	require.NoError(tb, kafka.EnsureTopics(ctx, config, Log(tb), names...))
}

// Log is a logger for the code under test: into the test's own log, so that it shows when the test fails.
func Log(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// testWriter drops what comes after the end of the test, where t.Log would panic.
type testWriter struct{ t testing.TB }

var _ io.Writer = testWriter{}

func (w testWriter) Write(line []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimRight(string(line), "\n"))
	}
	return len(line), nil
}
