package inventory

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
)

// sweepBatch is the largest number of holds of one transaction: more would keep levels locked for too long.
const sweepBatch = 200

// Sweeper gives stock back whose hold has ended. Any number of them may run: a reservation that another one, or a
// command, has locked is skipped and looked at again.
type Sweeper struct {
	pool    *pgxpool.Pool
	every   time.Duration
	now     func() time.Time
	log     *slog.Logger
	expired prometheus.Counter
}

// NewSweeper makes a sweeper; registerer may be nil.
func NewSweeper(
	pool *pgxpool.Pool, every time.Duration, now func() time.Time, log *slog.Logger, registerer prometheus.Registerer,
) *Sweeper {
	s := &Sweeper{pool: pool, every: every, now: now, log: log, expired: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "recourse", Subsystem: "inventory", Name: "holds_expired_total",
		Help: "Reservations that the clock gave back.",
	})}
	if registerer != nil {
		registerer.MustRegister(s.expired)
	}
	return s
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for {
		for {
			n, err := s.RunOnce(ctx)
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "sweeping expired holds failed; trying again", slog.String("error", err.Error()))
			}
			if n < sweepBatch {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// RunOnce expires up to sweepBatch holds in one transaction and says how many.
func (s *Sweeper) RunOnce(ctx context.Context) (int, error) {
	n, err := pg.InTxV(ctx, s.pool, func(tx pgx.Tx) (int, error) { return expire(ctx, tx, instant(s.now())) })
	if err == nil && n > 0 {
		err = crash.Fail(crash.InventoryAfterSweep)
	}
	if err != nil {
		return 0, err
	}
	if n > 0 {
		s.expired.Add(float64(n))
		s.log.InfoContext(ctx, "holds expired", slog.Int("reservations", n))
	}
	return n, nil
}

func expire(ctx context.Context, tx pgx.Tx, now time.Time) (int, error) {
	holdings, err := lockExpired(ctx, tx, now, sweepBatch)
	if err != nil || len(holdings) == 0 {
		return 0, err
	}
	var keys []LevelKey
	for _, h := range holdings {
		keys = append(keys, h.keys()...)
	}
	stock, err := lockStock(ctx, tx, nil, keys)
	if err != nil {
		return 0, err
	}
	for _, h := range holdings {
		h.Expire(stock, now)
	}
	if err := save(ctx, tx, changes{decided: holdings, stock: stock}); err != nil {
		return 0, err
	}
	return len(holdings), crash.Fail(crash.InventoryAfterExpire)
}
