package deadletter_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/httpserver"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
)

func TestDismiss(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	config := kafkatest.Config(t, "inventory.commands.v1")
	producer, err := kafka.NewProducer(config, "test", kafkatest.Log(t), nil)
	require.NoError(t, err)
	defer producer.Close()
	parked := record(1)
	parked.Topic = config.Topics().CommandTopic("inventory")
	l := deadletter.New(parked, deadletter.Undecodable, errors.New("no protobuf"), parkedAt)
	anonymous := letter(2)
	mustPark(t, pool, l, anonymous, letter(3))

	eve := "eve"
	dismissed, err := deadletter.Dismiss(t.Context(), pool, l.ID, &eve, "garbage")
	require.NoError(t, err)
	require.Equal(t, "eve", dismissed.Dismissal.By)
	require.Equal(t, "garbage", dismissed.Dismissal.Reason)
	require.False(t, dismissed.Dismissal.At.IsZero())
	require.Equal(t, l.Value, dismissed.Value, "its bytes are still there")
	_, err = deadletter.Dismiss(t.Context(), pool, l.ID, nil, "another reason")
	require.ErrorIs(t, err, deadletter.ErrAlreadyDismissed)
	nobody, err := deadletter.Dismiss(t.Context(), pool, anonymous.ID, nil, "garbage")
	require.NoError(t, err)
	require.Empty(t, nobody.Dismissal.By)
	_, err = deadletter.Dismiss(t.Context(), pool, uuid.New(), nil, "x")
	require.ErrorIs(t, err, deadletter.ErrNotFound)

	letters, _, err := deadletter.List(t.Context(), pool, uuid.Nil, 10)
	require.NoError(t, err)
	require.Nil(t, letters[0].Dismissal)
	require.Equal(t, "garbage", letters[2].Dismissal.Reason)
	n, err := deadletter.Count(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, int64(1), n)

	// An operator may change his mind, and what was sent cannot be dismissed.
	redriven, err := deadletter.Redrive(t.Context(), pool, producer, l.ID)
	require.NoError(t, err)
	require.NotNil(t, redriven.RedrivenAt)
	require.NotNil(t, redriven.Dismissal)
	_, err = deadletter.Dismiss(t.Context(), pool, l.ID, nil, "x")
	require.ErrorIs(t, err, deadletter.ErrAlreadyRedriven)
}

func TestRegisterOpen(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	registry := prometheus.NewRegistry()
	deadletter.RegisterOpen(registry, pool)
	first := letter(1)
	mustPark(t, pool, first, letter(2))
	open := func() float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		require.Equal(t, "recourse_dead_letters_open", families[0].GetName())
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	require.InDelta(t, 2, open(), 0)
	_, err := deadletter.Dismiss(t.Context(), pool, first.ID, nil, "x")
	require.NoError(t, err)
	require.InDelta(t, 1, open(), 0)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	// Looking costs the same however many letters were closed, and no more than the bound for those that are open.
	_, err = pool.Exec(t.Context(), `
		INSERT INTO dead_letter (id, topic, partition, record_offset, record_time, headers, reason, error, at, redriven_at)
		SELECT gen_random_uuid(), 'many', 0, n, now(), '[]', 'undecodable', '', now(), CASE WHEN n % 2 = 0 THEN now() END
		FROM generate_series(1, 21000) AS n`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `ANALYZE dead_letter`)
	require.NoError(t, err)
	require.InDelta(t, 10_000, open(), 0)
	_, err = pool.Exec(t.Context(), `UPDATE dead_letter SET redriven_at = now() WHERE topic = 'many'`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `ANALYZE dead_letter`)
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), `EXPLAIN `+deadletter.CountSQL, 10_000)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, plan[len(plan)-1], "dead_letter_open", "%q", plan)
}

func TestView(t *testing.T) {
	t.Parallel()
	l := deadletter.New(&kgo.Record{
		Topic: "t", Partition: 3, Offset: 7, Key: []byte("k\xff"), Value: []byte{0, 0xff},
		Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("id\xff")}},
	}, deadletter.HandlerPanic, errors.New("it fell down"), parkedAt)
	v := l.View()
	require.Equal(t, l.ID, v.ID)
	require.Equal(t, "k\ufffd", *v.Key)
	require.Equal(t, []byte{0, 0xff}, *v.Value)
	require.Equal(t, []struct{ Key, Value string }{{"ce_id", "id\ufffd"}}, *v.Headers)
	require.Equal(t, "handler_panic", v.Reason)
	require.Nil(t, v.RedrivenAt)
	require.Nil(t, v.DismissedAt)
	require.Nil(t, v.DismissedBy)
	bare := (&deadletter.Letter{Dismissal: &deadletter.Dismissal{At: parkedAt, Reason: "garbage"}}).View()
	require.Nil(t, bare.Key)
	require.Nil(t, bare.Value)
	require.Nil(t, bare.Headers)
	require.Equal(t, parkedAt, *bare.DismissedAt)
	require.Equal(t, "garbage", *bare.DismissedReason)
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for err, code := range map[error]httpserver.Code{
		deadletter.ErrNotFound: httpserver.CodeDeadLetterNotFound, deadletter.ErrNotSent: httpserver.CodeUnavailable,
		deadletter.ErrAlreadyRedriven:  httpserver.CodeAlreadyRedriven,
		deadletter.ErrAlreadyDismissed: httpserver.CodeAlreadyDismissed,
	} {
		problem, ok := errors.AsType[*httpserver.Problem](deadletter.Problem(err))
		require.True(t, ok)
		require.Equal(t, code, problem.Code)
	}
	other := errors.New("something else")
	require.Equal(t, other, deadletter.Problem(other))
}
