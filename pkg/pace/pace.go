package pace

import (
	"context"
	"time"
)

const (
	// longest bounds a pause. An order passes a dozen loops on its way; with ten times as much the slowest hundredth of the
	// orders took 1.2 to 1.7 times as long at half of the maximum, and the batches were a tenth larger.
	longest = 5 * time.Millisecond
	// shortest is the least that is worth a timer.
	shortest = 500 * time.Microsecond
	// enough is a batch that needs no company: most of the saving is had (the knee is at 50 to 200 of a transaction).
	enough = 64
	// double is how many of a batch are expected to take twice the time of one.
	double = 64
	// forget is the time in which the best time doubles, so that a slower database is taken for what it is in the end.
	forget = 10 * time.Minute
)

// Pacer watches one loop. The zero value is ready. It is not safe for concurrent use.
type Pacer struct {
	// best is the least that a batch of one has taken.
	best time.Duration
	at   time.Time
}

// Pause is how long to wait before the next batch, after one of n that ended now and took that long. A loop that had been
// idle before it, waiting for work, has less reason to expect company.
func (p *Pacer) Pause(n int, idle, took time.Duration, now time.Time) time.Duration {
	scale := 1 + float64(n)/double
	if !p.at.IsZero() {
		p.best += time.Duration(float64(p.best) * float64(now.Sub(p.at)) / float64(forget))
	}
	one := time.Duration(float64(took) / scale)
	if p.at.IsZero() || one < p.best {
		p.best = one
	}
	p.at = now
	if n >= enough {
		return 0
	}
	pause := min(longest, took-time.Duration(float64(p.best)*scale)-idle)
	if pause < shortest {
		return 0
	}
	return pause
}

// Wait pauses; it is false when ctx has ended.
func Wait(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
