package deadletter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/kafkatest"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func mustDB(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return pgtest.DB(t, fstest.MapFS{
		"00001_dead_letter.sql": {Data: []byte("-- +goose Up\n" + deadletter.DDL)},
		"00002_prune.sql":       {Data: []byte("-- +goose Up\n" + deadletter.PruneDDL)},
		"00003_dismiss.sql":     {Data: []byte("-- +goose Up\n" + deadletter.DismissDDL)},
	})
}

func mustPark(t *testing.T, pool *pgxpool.Pool, letters ...deadletter.Letter) {
	t.Helper()
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		return deadletter.Park(t.Context(), tx, letters)
	}))
}

var parkedAt = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)

func record(offset int64) *kgo.Record {
	return &kgo.Record{
		Topic: "t.inventory.commands.v1", Partition: 3, Offset: offset, Timestamp: time.UnixMilli(1_780_000_000_123),
		Key: []byte("order"), Value: []byte{0, 1, 0xff},
		Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("id")}, {Key: "empty", Value: []byte{}}, {Key: "nil"}},
	}
}

func letter(offset int64) deadletter.Letter {
	return deadletter.New(record(offset), deadletter.Undecodable, errors.New("no protobuf"), parkedAt)
}

func TestPark_keeps_everything(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	want := letter(7)
	mustPark(t, pool, want)
	got, err := deadletter.Get(t.Context(), pool, want.ID)
	require.NoError(t, err)
	require.True(t, got.At.Equal(want.At))
	require.True(t, got.RecordTime.Equal(want.RecordTime))
	got.At, got.RecordTime = want.At, want.RecordTime
	require.Equal(t, want, got)
	mustPark(t, pool)
}

// Nothing that a record can hold keeps its batch from committing.
func TestPark_hostile_records(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	hostile := deadletter.New(&kgo.Record{
		Topic: "t", Timestamp: time.UnixMilli(-1),
		Headers: []kgo.RecordHeader{{Key: "\xff\x00key", Value: []byte{0}}, {Key: "", Value: nil}, {Key: "plain"}},
	}, deadletter.HandlerPanic, errors.New("a\x00b\xff"+strings.Repeat("\u20ac", 5000)), parkedAt)
	mustPark(t, pool, hostile)
	got, err := deadletter.Get(t.Context(), pool, hostile.ID)
	require.NoError(t, err)
	require.Equal(t, hostile.Headers, got.Headers)
	require.Nil(t, got.Key)
	require.Nil(t, got.Value)
	require.True(t, strings.HasPrefix(got.Error, "a\ufffdb\ufffd\u20ac"))
	require.LessOrEqual(t, len(got.Error), 8<<10)
}

func TestPark_twice_is_once(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	first, again := letter(1), letter(1)
	again.Error = "another text"
	mustPark(t, pool, first, letter(2))
	mustPark(t, pool, again, again, letter(3))
	letters, _, err := deadletter.List(t.Context(), pool, uuid.Nil, 10)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	got, err := deadletter.Get(t.Context(), pool, first.ID)
	require.NoError(t, err)
	require.Equal(t, "no protobuf", got.Error)

	// The same place in a topic that was made anew: another record.
	anew := record(1)
	anew.Timestamp = anew.Timestamp.Add(time.Hour)
	mustPark(t, pool, deadletter.New(anew, deadletter.Undecodable, errors.New("x"), parkedAt))
	n, err := deadletter.Count(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, int64(4), n)
}

func TestPark_is_one_statement(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	for _, n := range []int64{1, 200} {
		var letters []deadletter.Letter
		for offset := range n {
			letters = append(letters, letter(offset))
		}
		var counter pg.Counter
		ctx := pg.WithCounter(t.Context(), &counter)
		require.NoError(t, pg.InTx(ctx, pool, func(tx pgx.Tx) error { return deadletter.Park(ctx, tx, letters) }))
		require.Equal(t, 1, counter.Statements())
	}
}

// Parking belongs to the transaction of the batch.
func TestPark_rolls_back_with_the_batch(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	require.Error(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		if err := deadletter.Park(t.Context(), tx, []deadletter.Letter{letter(1)}); err != nil {
			return err
		}
		return errors.New("the batch fails")
	}))
	n, err := deadletter.Count(t.Context(), pool)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestList_pages(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	for offset := range int64(7) {
		mustPark(t, pool, letter(offset))
	}
	var offsets []int64
	cursor := uuid.Nil
	for pages := 0; ; pages++ {
		letters, next, err := deadletter.List(t.Context(), pool, cursor, 3)
		require.NoError(t, err)
		for _, l := range letters {
			offsets = append(offsets, l.Offset)
		}
		if next == uuid.Nil {
			require.Equal(t, 2, pages)
			break
		}
		cursor = next
	}
	require.Equal(t, []int64{6, 5, 4, 3, 2, 1, 0}, offsets)
	_, err := deadletter.Get(t.Context(), pool, uuid.New())
	require.ErrorIs(t, err, deadletter.ErrNotFound)
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	config := kafkatest.Config(t, "inventory.commands.v1")
	producer, err := kafka.NewProducer(config, "test", kafkatest.Log(t), nil)
	require.NoError(t, err)
	defer producer.Close()
	parked := record(9)
	parked.Topic = config.Topics().CommandTopic("inventory")
	l := deadletter.New(parked, deadletter.UnknownType, errors.New("old build"), parkedAt)
	mustPark(t, pool, l)

	redriven, err := deadletter.Redrive(t.Context(), pool, producer, l.ID)
	require.NoError(t, err)
	require.NotNil(t, redriven.RedrivenAt)
	n, err := deadletter.Count(t.Context(), pool)
	require.NoError(t, err)
	require.Zero(t, n)

	again := mustReadOne(t, config, parked.Topic)
	require.Equal(t, parked.Key, again.Key)
	require.Equal(t, parked.Value, again.Value)
	headers := map[string]string{}
	for _, h := range again.Headers {
		headers[h.Key] = string(h.Value)
	}
	require.Equal(t, "id", headers["ce_id"])
	require.Equal(t, l.ID.String(), headers[deadletter.RedrivenHeader])

	_, err = deadletter.Redrive(t.Context(), pool, producer, l.ID)
	require.ErrorIs(t, err, deadletter.ErrAlreadyRedriven)
	_, err = deadletter.Redrive(t.Context(), pool, producer, uuid.New())
	require.ErrorIs(t, err, deadletter.ErrNotFound)
}

// What could not be sent stays open.
func TestRedrive_broker_refuses(t *testing.T) {
	t.Parallel()
	pool := mustDB(t)
	config := kafkatest.Config(t)
	producer, err := kafka.NewProducer(config, "test", kafkatest.Log(t), nil)
	require.NoError(t, err)
	defer producer.Close()
	l := letter(1)
	mustPark(t, pool, l)
	_, err = deadletter.Redrive(t.Context(), pool, producer, l.ID)
	require.ErrorContains(t, err, "redriving dead letter")
	require.ErrorIs(t, err, deadletter.ErrNotSent)
	_, err = deadletter.Redrive(t.Context(), pool, nil, l.ID)
	require.ErrorIs(t, err, deadletter.ErrNotSent, "a service that does not run yet")
	n, err := deadletter.Count(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
}

// The table's CHECK and the list of reasons say the same.
func TestReasons_are_those_of_the_table(t *testing.T) {
	t.Parallel()
	_, list, found := strings.Cut(deadletter.PruneDDL, "reason IN (")
	require.True(t, found)
	list, _, _ = strings.Cut(list, ")")
	var inTable []deadletter.Reason
	for _, quoted := range regexp.MustCompile(`'([a-z_]+)'`).FindAllStringSubmatch(list, -1) {
		inTable = append(inTable, deadletter.Reason(quoted[1]))
	}
	require.Equal(t, deadletter.Reasons(), inTable)
}

// Every service's migration repeats the table word for word.
func TestDDL_stands_in_the_migrations(t *testing.T) {
	t.Parallel()
	first, err := filepath.Glob("../../migrations/*/00001_*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, first)
	for _, ddl := range []string{deadletter.DDL, deadletter.PruneDDL, deadletter.DismissDDL} {
		for _, file := range first {
			var all strings.Builder
			files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.sql"))
			require.NoError(t, err)
			for _, name := range files {
				text, err := os.ReadFile(name)
				require.NoError(t, err)
				all.Write(text)
			}
			require.Contains(t, all.String(), ddl, filepath.Dir(file))
		}
	}
}

func mustReadOne(t *testing.T, config kafka.Config, topic string) *kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...), kgo.ConsumeTopics(topic))
	require.NoError(t, err)
	defer client.Close()
	fetches := client.PollRecords(ctx, 1)
	require.NoError(t, fetches.Err())
	require.Equal(t, 1, fetches.NumRecords())
	return fetches.Records()[0]
}
