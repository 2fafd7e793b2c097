package system_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/standalone/stack"
)

// Every service that keeps orders refuses to start where it could lose them, and says what to do.
func TestRefusal(t *testing.T) {
	t.Parallel()
	type place struct {
		database string
		prefix   string
		brokers  []string
		env      []string
	}
	for _, danger := range []struct {
		name string
		make func(t *testing.T, p *place)
		says []string
	}{
		{"commits that are not on disk", func(t *testing.T, p *place) {
			t.Helper()
			alterDatabase(t, p.database, "synchronous_commit = off")
		}, []string{"synchronous_commit = off", "RESET synchronous_commit"}},
		{"a clock that is far off", func(t *testing.T, p *place) {
			t.Helper()
			pgtest.ShiftClock(t, p.database, "1 hour")
		}, []string{"clock is 1h0m0s behind", "let NTP set both"}},
		{"topics with one copy in production", func(t *testing.T, p *place) {
			t.Helper()
			p.env = []string{"RECOURSE_MODE=production"}
		}, []string{"has 1 copies, want at least 2", "RECOURSE_MODE=development"}},
		{"another partition count", func(t *testing.T, p *place) {
			t.Helper()
			p.env = []string{"KAFKA_PARTITIONS=7"}
		}, []string{"has 4 partitions, KAFKA_PARTITIONS=7", "set KAFKA_PARTITIONS=4"}},
		{"no topics", func(t *testing.T, p *place) {
			t.Helper()
			deleteTopics(t, p.brokers, p.prefix)
		}, []string{"is not there: run `migrate`"}},
		{"an unknown mode", func(t *testing.T, p *place) {
			t.Helper()
			p.env = []string{"RECOURSE_MODE=prod"}
		}, []string{`RECOURSE_MODE=\"prod\": want production or development`}},
	} {
		t.Run(danger.name, func(t *testing.T) {
			t.Parallel()
			broker := kafkatest.Config(t)
			for _, name := range []string{
				stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification,
			} {
				p := place{database: pgtest.URL(t, nil), prefix: broker.TopicPrefix, brokers: broker.Brokers}
				run := func(command string) (status int, said string) {
					environ := append([]string{
						"DATABASE_URL=" + p.database, "KAFKA_BROKERS=" + strings.Join(p.brokers, ","),
						"KAFKA_TOPIC_PREFIX=" + p.prefix, "KAFKA_PARTITIONS=4", "RECOURSE_MODE=development",
						"GATEWAY_URL=http://127.0.0.1:1", "CARRIER_URL=http://127.0.0.1:1", "SMTP_ADDR=127.0.0.1:1",
					}, p.env...)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					var stderr bytes.Buffer
					status, known := stack.Execute(ctx, name, []string{command}, environ, io.Discard, &stderr)
					require.True(t, known)
					return status, stderr.String()
				}
				status, said := run("migrate")
				require.Zero(t, status, said)
				danger.make(t, &p)
				status, said = run("serve")
				require.NotZero(t, status, "%s starts in spite of %s", name, danger.name)
				for _, want := range danger.says {
					require.Contains(t, said, want, name)
				}
			}
		})
	}
}

func alterDatabase(t *testing.T, url, setting string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(),
		fmt.Sprintf("ALTER DATABASE %s SET %s", pgx.Identifier{conn.Config().Database}.Sanitize(), setting))
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func deleteTopics(t *testing.T, brokers []string, prefix string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	// A broker may not show a new topic yet, and shows a deleted one for a moment: until it has shown none for a while.
	gone := 0
	require.Eventually(t, func() bool {
		topics, err := admin.ListTopics(t.Context())
		require.NoError(t, err)
		var ours []string
		for _, name := range topics.Names() {
			if strings.HasPrefix(name, prefix+".") {
				ours = append(ours, name)
			}
		}
		if gone++; len(ours) > 0 {
			gone = 0
			_, err = admin.DeleteTopics(t.Context(), ours...)
			require.NoError(t, err)
		}
		return gone == 5
	}, 30*time.Second, 100*time.Millisecond)
}
