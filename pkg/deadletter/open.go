package deadletter

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// manyOpen bounds the counting: who has so many open letters has one cause to mend, and does not need the exact number.
const manyOpen = 10_000

const countSQL = `
SELECT count(*)
FROM (
    SELECT id
    FROM dead_letter
    WHERE redriven_at IS NULL AND dismissed_at IS NULL
    LIMIT $1
) AS open`

// Count says how many letters are open, and counts no further than to 10,000.
func Count(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	var n int64
	if err := pool.QueryRow(ctx, countSQL, manyOpen).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting dead letters: %w", err)
	}
	return n, nil
}

// RegisterOpen adds the gauge of open letters. It asks the database, because any process of the service may park, and
// operators may close what another one parked.
func RegisterOpen(reg prometheus.Registerer, pool *pgxpool.Pool) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "recourse", Subsystem: "dead_letters", Name: "open",
		Help: "Dead letters that were neither redriven nor dismissed, counted up to 10000. Look at GET /v1/dead-letters.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n, err := Count(ctx, pool)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	}))
}
