package inventory_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert" // for the type that EventuallyWithT hands in
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"recourse.dev/pkg/message"
	"recourse.dev/pkg/pgtest"
	"recourse.dev/pkg/worker"
	"recourse.dev/pkg/worker/workertest"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// send processes batches at the same time, each by a worker of its own, and returns all replies.
func send(t *testing.T, s *shop, batches [][]worker.Input) []*sagav1.Reply {
	t.Helper()
	kits, records := make([]*workertest.Kit, len(batches)), make([][]*kgo.Record, len(batches))
	for i, batch := range batches {
		kits[i] = s.newKit(t)
		records[i] = kits[i].Records(t, batch...)
	}
	produced := make([][]*kgo.Record, len(batches))
	var group errgroup.Group
	for i := range batches {
		group.Go(func() (err error) {
			produced[i], err = kits[i].Worker.Process(t.Context(), records[i])
			return err
		})
	}
	require.NoError(t, group.Wait())
	var replies []*sagav1.Reply
	for _, of := range produced {
		for _, record := range of {
			_, data, err := message.Decode(record)
			require.NoError(t, err)
			replies = append(replies, data.(*sagav1.Reply)) //nolint:forcetypeassert // a worker produces nothing else
		}
	}
	return replies
}

func TestRace_HundredOrdersForTheLastTenUnits(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	// Spread over two locations, and two items a order, so that locks could meet in the wrong order.
	s.stock(t, "MUG", "BERLIN", "DE", 6)
	s.stock(t, "MUG", "PARIS", "FR", 4)
	s.stock(t, "PEN", "PARIS", "FR", 1000)
	batches := make([][]worker.Input, 10)
	for n := range 100 {
		wants := []want{{"MUG", 1}, {"PEN", 1}}
		if n%2 == 1 {
			wants = []want{{"PEN", 1}, {"MUG", 1}}
		}
		batches[n%len(batches)] = append(batches[n%len(batches)], s.reserve(wants...))
	}
	var sold, refused int
	for _, reply := range send(t, s, batches) {
		switch {
		case reply.GetDone() != nil:
			sold++
		default:
			require.Equal(t, "out_of_stock", reply.GetRefused().GetCode())
			refused++
		}
	}
	require.Equal(t, 10, sold)
	require.Equal(t, 90, refused)
	totals := s.totals(t)
	require.Equal(t, int64(10), totals["MUG"].Reservations.Held)
	require.Equal(t, int64(10), totals["PEN"].Reservations.Held, "a refused order holds no pen either")
	require.Equal(t, int64(0), totals["MUG"].Levels.Available)
}

// Reserve, release, commit, expiry, receipts and counts all at once on few levels: whatever the order, the books agree
// and nothing is sold twice.
func TestRace_EverythingAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 40)
	s.stock(t, "PEN", "PARIS", "FR", 60)
	var holds []worker.Input
	var batches [][]worker.Input
	for range 4 {
		var batch []worker.Input
		for range 15 {
			command := s.reserve(want{"PEN", 1 + rand.Int64N(3)}, want{"MUG", 1})
			if rand.IntN(2) == 0 {
				command = s.reserve(want{"MUG", 1 + rand.Int64N(2)})
			}
			holds = append(holds, command)
			switch rand.IntN(3) {
			case 0:
				batch = append(batch, release(command)) // before, after or with its do, as it comes
			case 1:
				batch = append(batch, commit(command)) // may come too early; asked again below
			}
		}
		batches = append(batches, batch)
	}
	for i := 0; i < len(holds); i += 15 {
		batches = append(batches, holds[i:i+15])
	}
	var group errgroup.Group
	group.Go(func() error {
		for range 20 {
			if _, err := s.sweeper.RunOnce(t.Context()); err != nil {
				return err
			}
			s.skip(6 * time.Minute) // in the end two hours, so all holds end on the way
		}
		return nil
	})
	send(t, s, batches)
	require.NoError(t, group.Wait())
	totals := s.totals(t)
	for sku, there := range map[string]int64{"MUG": 40, "PEN": 60} {
		require.Equal(t, there, totals[sku].Levels.OnHand+totals[sku].Ledger.Shipped, sku)
	}
}

// A commit and the sweeper want the same holds. For each exactly one of them gets it: the hold is shipped or expired,
// never both, and an expired one is sold again at most once.
func TestRace_CommitAndSweeper(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const orders = 60
	s.stock(t, "MUG", "BERLIN", "DE", orders)
	var holds []worker.Input
	batches := make([][]worker.Input, 6)
	for n := range orders {
		command := s.reserve(want{"MUG", 1})
		holds = append(holds, command)
		batches[n%len(batches)] = append(batches[n%len(batches)], commit(command))
	}
	s.kit.Send(t, holds...)
	s.skip(2 * time.Hour)
	var group errgroup.Group
	var expired int
	group.Go(func() error {
		for range 10 {
			n, err := s.sweeper.RunOnce(t.Context())
			if err != nil {
				return err
			}
			expired += n
		}
		return nil
	})
	for _, reply := range send(t, s, batches) {
		require.NotNil(t, reply.GetDone(), "the goods are there in any case: %v", reply)
	}
	require.NoError(t, group.Wait())
	both := one[int](t, s.kit, `
		SELECT count(*) FROM reservation r
		WHERE (SELECT count(*) FROM movement m WHERE m.cause_id = r.reservation_id AND m.kind IN ('ship', 'expire')) <> 1`)
	require.Zero(t, both, "each hold was shipped or expired")
	require.Equal(t, expired, one[int](t, s.kit, `SELECT count(*) FROM reservation WHERE state = 'expired'`))
	require.Equal(t, orders, one[int](t, s.kit, `SELECT count(*) FROM reservation WHERE state = 'consumed'`))
	require.Equal(t, int64(orders), s.totals(t)["MUG"].Ledger.Shipped)
}

// Polls of several kinds on overlapping goods, as two processes have them all day: without Handler.lockPoll most of
// these polls wait a second for the deadlock detector.
func TestRace_MixedPollsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const items, polls, orders = 60, 25, 10
	sku := func() string { return fmt.Sprintf("SKU-%d", rand.IntN(items)) }
	for i := range items {
		s.stock(t, fmt.Sprintf("SKU-%d", i), "BERLIN", "DE", polls*orders*4)
	}
	var group errgroup.Group
	for range 2 {
		kit := s.newKit(t)
		var batches [][]*kgo.Record
		var answers []worker.Input // to the poll before
		for range polls {
			batch := answers
			answers = nil
			for range orders {
				command := s.reserve(want{sku(), 1}, want{sku(), 2})
				batch = append(batch, command)
				if rand.IntN(4) == 0 {
					answers = append(answers, release(command))
				} else {
					answers = append(answers, commit(command))
				}
			}
			batches = append(batches, kit.Records(t, batch...))
		}
		group.Go(func() error {
			for _, batch := range batches {
				if _, err := kit.Worker.Process(t.Context(), batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	s.totals(t)

	// The server counts a session's deadlocks for sure when the session ends.
	watch := pgtest.Pool(t, s.pool.Config().ConnString())
	s.pool.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var others int
		require.NoError(c, watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'pgtest' AND pid <> pg_backend_pid()`).Scan(&others))
		require.Zero(c, others)
	}, 10*time.Second, 50*time.Millisecond)
	var deadlocks int
	require.NoError(t, watch.QueryRow(t.Context(),
		`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks))
	require.Zero(t, deadlocks)
}

func TestSweeper_SkipsWhatACommandHasInHand(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.stock(t, "MUG", "BERLIN", "DE", 2)
	inHand, free := s.reserve(want{"MUG", 1}), s.reserve(want{"MUG", 1})
	s.kit.Send(t, inHand, free)
	s.skip(2 * time.Hour)
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `SELECT FROM reservation WHERE order_id = $1 FOR UPDATE`, inHand.GetMeta().GetOrderId())
	require.NoError(t, err)
	n, err := s.sweeper.RunOnce(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "it neither waits for the one nor misses the other")
	require.NoError(t, tx.Rollback(t.Context()))
	n, err = s.sweeper.RunOnce(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, int64(2), s.totals(t)["MUG"].Ledger.ExpiredEver)
}
