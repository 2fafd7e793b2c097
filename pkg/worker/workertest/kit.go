package workertest

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/internal/halt"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// Kit is a participant without a broker.
type Kit struct {
	// Worker is the one that works now; Crash replaces it.
	Worker *worker.Worker
	// Pool is the participant's database.
	Pool *pgxpool.Pool

	cfg      worker.Config
	register func(*worker.Worker)
	log      *slog.Logger
	offset   int64
}

// Option changes the configuration of the worker.
type Option func(*worker.Config)

// New makes a kit over a database with the participant's migrations. register adds the handlers; it is called again for
// the worker after a Crash.
func New(t testing.TB, pool *pgxpool.Pool, register func(*worker.Worker), options ...Option) *Kit {
	t.Helper()
	kit := &Kit{
		Pool:     pool,
		cfg:      worker.Config{Participant: "participant", Build: "participant/test", CallTimeout: 5 * time.Second},
		register: register,
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).
			With(slog.String("test", t.Name())),
	}
	for _, option := range options {
		option(&kit.cfg)
	}
	kit.restart(t)
	t.Cleanup(func() { kit.Worker.Close() })
	return kit
}

// Do sends one do and returns the answer to it.
func (k *Kit) Do(t testing.TB, command worker.Input) *sagav1.Reply {
	t.Helper()
	require.Equal(t, worker.OpDo, command.GetMeta().GetOperation(), "the command's meta asks for")
	return k.answer(t, command)
}

// Undo sends one undo and returns the answer to it.
func (k *Kit) Undo(t testing.TB, command worker.Input) *sagav1.Reply {
	t.Helper()
	require.Equal(t, worker.OpUndo, command.GetMeta().GetOperation(), "the command's meta asks for")
	return k.answer(t, command)
}

// Send processes the commands as one poll, waits for outside calls, and returns all replies in the order in which they
// were given.
func (k *Kit) Send(t testing.TB, commands ...worker.Input) []*sagav1.Reply {
	t.Helper()
	return k.SendRecords(t, k.Records(t, commands...)...)
}

// SendRecords is Send for records that may be no commands.
func (k *Kit) SendRecords(t testing.TB, records ...*kgo.Record) []*sagav1.Reply {
	t.Helper()
	replies, err := k.process(t.Context(), records)
	require.NoError(t, err)
	return decode(t, replies)
}

// Resolve plays the time until all open questions are due, asks them again, waits for the answers and returns the
// replies of a participant that speaks first.
func (k *Kit) Resolve(t testing.TB) []*sagav1.Reply {
	t.Helper()
	k.makeDue(t)
	return k.ResolveDue(t)
}

// ResolveDue is Resolve for the questions that are due by themselves or because the worker was told to wake them.
func (k *Kit) ResolveDue(t testing.TB) []*sagav1.Reply {
	t.Helper()
	_, err := k.Worker.Resolve(t.Context())
	require.NoError(t, err)
	replies, err := k.settle(t.Context())
	require.NoError(t, err)
	return decode(t, replies)
}

// Crash sends the commands as one poll to a worker that dies at the point: what it had not committed is rolled back,
// what it had in memory is lost, its replies with it. Then a new worker takes its place, as after a restart. It
// reports whether the worker came to the point; if not, the commands were processed.
func (k *Kit) Crash(t testing.TB, point crash.Name, commands ...worker.Input) (died bool) {
	t.Helper()
	require.Contains(t, crash.Points(), point, "no such crash point")
	records := k.Records(t, commands...)
	func() {
		defer func() {
			cause := recover()
			if _, halted := cause.(halt.Halted); halted {
				died = true
				return
			}
			if cause != nil {
				panic(cause)
			}
		}()
		_, err := k.process(halt.Before(t.Context(), point), records)
		require.NoError(t, err)
	}()
	k.Worker.Close()
	k.restart(t)
	return died
}

// Count processes the commands as one poll, settles their calls together, and returns the statements that it took.
func (k *Kit) Count(t testing.TB, commands ...worker.Input) []string {
	t.Helper()
	var counter pg.Counter
	ctx := pg.WithCounter(t.Context(), &counter)
	_, err := k.Worker.Process(ctx, k.Records(t, commands...))
	require.NoError(t, err)
	require.NoError(t, k.Worker.Await(ctx))
	_, err = k.settle(ctx)
	require.NoError(t, err)
	return counter.SQL()
}

const stateSQL = `
SELECT state
FROM step
WHERE saga_id = $1 AND step = $2 AND generation = $3`

// State is what the participant's row says about the effect of a command.
func (k *Kit) State(t testing.TB, command worker.Input) worker.State {
	t.Helper()
	meta := command.GetMeta()
	var state int16
	err := k.Pool.QueryRow(t.Context(), stateSQL, meta.GetSagaId(), meta.GetStep(), int32(meta.GetGeneration())).
		Scan(&state)
	if err == pgx.ErrNoRows { //nolint:errorlint // pgx returns it bare
		return worker.StateAbsent
	}
	require.NoError(t, err)
	return worker.State(state)
}

// Records makes the records of commands, as the coordinator would have produced them.
func (k *Kit) Records(t testing.TB, commands ...worker.Input) []*kgo.Record {
	t.Helper()
	records := make([]*kgo.Record, len(commands))
	for i, command := range commands {
		meta := command.GetMeta()
		topic := k.cfg.Kafka.Topics().CommandTopic(k.cfg.Participant)
		record, err := message.Encode(topic, meta.GetOrderId(), message.Event{
			Source:        "coordinator",
			Subject:       meta.GetOrderId(),
			CorrelationID: meta.GetSagaId(),
			Data:          command,
		})
		require.NoError(t, err)
		k.offset++
		record.Offset, record.Timestamp = k.offset, time.Now()
		records[i] = record
	}
	return records
}

func (k *Kit) restart(t testing.TB) {
	t.Helper()
	w, err := worker.New(k.cfg, k.Pool, k.log, nil)
	require.NoError(t, err)
	k.register(w)
	k.Worker = w
}

// answer sends one command and picks the last reply to it: a late answer to its opposite may come along.
func (k *Kit) answer(t testing.TB, command worker.Input) *sagav1.Reply {
	t.Helper()
	replies := k.Send(t, command)
	meta := command.GetMeta()
	for _, reply := range slices.Backward(replies) {
		if reply.GetOperation() == meta.GetOperation() && reply.GetStep() == meta.GetStep() &&
			uuid.MustParse(reply.GetSagaId()) == uuid.MustParse(meta.GetSagaId()) {
			return reply
		}
	}
	require.Failf(t, "no reply", "%s was not answered; was it parked? see the log of the test",
		command.ProtoReflect().Descriptor().FullName())
	return nil
}

func (k *Kit) process(ctx context.Context, records []*kgo.Record) ([]*kgo.Record, error) {
	replies, err := k.Worker.Process(ctx, records)
	if err != nil {
		return nil, err
	}
	if err := halt.At(ctx, crash.WorkerAfterProduce); err != nil {
		return nil, err
	}
	settled, err := k.settle(ctx)
	return append(replies, settled...), err
}

// settle goes on until no call is on its way: settling one may start another, of a remembered undo.
func (k *Kit) settle(ctx context.Context) ([]*kgo.Record, error) {
	var all []*kgo.Record
	for {
		replies, err := k.Worker.Settle(ctx)
		all = append(all, replies...)
		if err != nil || len(replies) == 0 && k.Worker.Outstanding() == 0 {
			return all, err
		}
	}
}

const makeDueSQL = `
UPDATE step
SET next_probe_at = now()
WHERE next_probe_at IS NOT NULL`

func (k *Kit) makeDue(t testing.TB) {
	t.Helper()
	_, err := k.Pool.Exec(t.Context(), makeDueSQL)
	require.NoError(t, err)
}

func decode(t testing.TB, records []*kgo.Record) []*sagav1.Reply {
	t.Helper()
	replies := make([]*sagav1.Reply, len(records))
	for i, record := range records {
		_, data, err := message.Decode(record)
		require.NoError(t, err)
		reply, ok := data.(*sagav1.Reply)
		require.Truef(t, ok, "the participant produced a %T", data)
		replies[i] = reply
	}
	return replies
}
