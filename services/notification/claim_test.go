package notification_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"recourse.dev/migrations"
	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	"recourse.dev/services/notification"
)

func event(t *testing.T, order string, data proto.Message) *kgo.Record {
	t.Helper()
	record, err := message.Encode("orders", order, message.Event{Source: "coordinator", Data: data})
	require.NoError(t, err)
	record.Offset = rand.Int64()
	return record
}

// life is what an order tells that is confirmed and then closed by an operator; one write brought two events about.
func life(t *testing.T, order string) []*kgo.Record {
	t.Helper()
	return []*kgo.Record{
		event(t, order, &orderv1.OrderAccepted{OrderId: order, Revision: 1}),
		event(t, order, &orderv1.OrderConfirmed{OrderId: order, Revision: 5}),
		event(t, order, &orderv1.OrderCompleted{OrderId: order, Revision: 5}),
		event(t, order, &orderv1.OrderAttentionRaised{OrderId: order, Revision: 6}),
		event(t, order, &orderv1.OrderClosed{OrderId: order, Revision: 7}),
	}
}

func TestClaims_newest_counts(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	status := func(order string) (status notification.ClaimStatus) {
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT status FROM order_claim WHERE order_id = $1`, order).
			Scan(&status))
		return status
	}
	for range 20 {
		order := uuid.NewString()
		records := append(life(t, order), life(t, order)...)
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		cut := rand.IntN(len(records))
		require.NoError(t, notification.FollowClaims(t.Context(), pool, records[:cut]))
		require.NoError(t, notification.FollowClaims(t.Context(), pool, records[cut:]))
		require.Equal(t, notification.ClaimClosed, status(order))
	}
	order := uuid.NewString()
	events := life(t, order)
	require.NoError(t, notification.FollowClaims(t.Context(), pool, events[2:3]))
	require.NoError(t, notification.FollowClaims(t.Context(), pool, events[1:2]))
	require.Equal(t, notification.ClaimCompleted, status(order), "of one write the later word counts")
}

func TestClaims_statements_do_not_grow(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	count := func(orders int) []string {
		var records []*kgo.Record
		for range orders {
			records = append(records, life(t, uuid.NewString())...)
		}
		var counter pg.Counter
		require.NoError(t, notification.FollowClaims(pg.WithCounter(t.Context(), &counter), pool, records))
		return counter.SQL()
	}
	one := count(1)
	require.Equal(t, one, count(10))
	require.Equal(t, one, count(40))
}

func TestClaims_parks_what_it_cannot_read(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("notification"))
	order := uuid.NewString()
	records := append([]*kgo.Record{
		{Topic: "orders", Offset: 1, Value: []byte("junk")},
		event(t, "x", &orderv1.OrderCancelled{OrderId: "x", Revision: 1}),
		event(t, order, &orderv1.OrderCancelled{OrderId: order}),
		event(t, order, &orderv1.OrderCancelled{OrderId: order, Revision: 1 << 63}),
		event(t, order, confirm()),
	}, life(t, order)...)
	for range 2 {
		require.NoError(t, notification.FollowClaims(t.Context(), pool, records))
	}
	letters, _, err := deadletter.List(t.Context(), pool, uuid.Nil, 100)
	require.NoError(t, err)
	reasons := make(map[deadletter.Reason]int)
	for _, l := range letters {
		reasons[l.Reason]++
	}
	require.Equal(t, map[deadletter.Reason]int{
		deadletter.Undecodable: 1, deadletter.HandlerRefused: 3, deadletter.WrongTopic: 1,
	}, reasons)
	var claims int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM order_claim`).Scan(&claims))
	require.Equal(t, 1, claims, "the rest of the poll is applied")
}
