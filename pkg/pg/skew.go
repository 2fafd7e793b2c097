package pg

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// maxSkew is how far this machine's clock may be from the database's. Whatever is due is decided by the database's, see
// Clock; but ids, signatures, certificates and the times of messages come from this one.
const maxSkew = 30 * time.Second

// CheckClock refuses to start beside a database whose clock tells another time: one of the two is wrong.
func CheckClock(ctx context.Context, pool *pgxpool.Pool) error {
	skew, err := clockSkew(ctx, pool)
	if err != nil {
		return err
	}
	if skew.Abs() <= maxSkew {
		return nil
	}
	side := "behind"
	if skew < 0 {
		side = "ahead of"
	}
	return fmt.Errorf("this machine's clock is %s %s that of the database server, more than %s: let NTP set both "+
		"(chronyc tracking, or timedatectl, shows which one is wrong)", skew.Abs().Round(time.Second), side, maxSkew)
}

// RegisterClock adds the gauge that shows the same of a process that runs.
func RegisterClock(reg prometheus.Registerer, pool *pgxpool.Pool) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "recourse", Subsystem: "database", Name: "clock_offset_seconds",
		Help: "How far the database's clock is ahead of this machine's. More than 30 either way: set both by NTP.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		skew, err := clockSkew(ctx, pool)
		if err != nil {
			return math.NaN()
		}
		return skew.Seconds()
	}))
}

// clockSkew is how far the database's clock is ahead, compared with the middle of the time that asking took.
func clockSkew(ctx context.Context, pool *pgxpool.Pool) (time.Duration, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the database's clock: %w", err)
	}
	defer conn.Release()
	var database time.Time
	before := time.Now()
	if err := conn.QueryRow(ctx, clockSQL).Scan(&database); err != nil {
		return 0, fmt.Errorf("reading the database's clock: %w", err)
	}
	return database.Sub(before.Add(time.Since(before) / 2)), nil
}
