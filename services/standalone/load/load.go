package load

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Outcome is a class of answers.
type Outcome string

const (
	// Accepted: the system took the work.
	Accepted Outcome = "accepted"
	// Refused: the system turned the work away and said when to come back.
	Refused Outcome = "refused"
	// Unavailable: the system said that it cannot work, or turned work away without a time.
	Unavailable Outcome = "unavailable"
	// Failed: anything else, from a broken connection to an error of the system.
	Failed Outcome = "failed"
)

// Options of a run.
type Options struct {
	// Rate is how many requests are sent a second, evenly spaced.
	Rate     float64
	Duration time.Duration
	// Every is how often the generator wakes up: what has become due since is sent together, late and never early, and
	// its latency counts from when it was due. By default it wakes up for each request, which at a high rate costs as much
	// as sending it; on a machine that the generator shares with the system that is taken from the system.
	Every time.Duration
	// MaxInFlight bounds the requests without an answer, so that a system which hangs does not take the generator's
	// memory. Requests that are due beyond it are not sent and counted as Missed. Default 20,000.
	MaxInFlight int
	// Do sends request n, which was due at the given time, and classifies the answer. It is called concurrently.
	Do func(ctx context.Context, n int, due time.Time) Outcome
}

// Result is what a run saw.
type Result struct {
	Sent int
	// Missed requests were due and not sent: the generator was at its bound, and the figures are too good.
	Missed int
	// Late is the longest time by which the generator itself was behind its plan.
	Late     time.Duration
	Outcomes map[Outcome]int
	Latency  map[Outcome]*Histogram
}

// Run sends requests until the duration is over or ctx ends, and returns when all are answered.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Rate <= 0 || o.Duration <= 0 || o.Do == nil {
		return nil, errors.New("running a load: Rate, Duration and Do are required")
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 20_000
	}
	var (
		r        = &Result{Outcomes: map[Outcome]int{}, Latency: map[Outcome]*Histogram{}}
		mu       sync.Mutex
		wg       sync.WaitGroup
		inFlight atomic.Int64
		start    = time.Now()
		timer    = time.NewTimer(0)
	)
	defer timer.Stop()
	for n := 0; ; n++ {
		after := time.Duration(float64(n) / o.Rate * float64(time.Second))
		if after >= o.Duration {
			break
		}
		due := start.Add(after)
		if wait := time.Until(start.Add(later(after, o.Every))); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				wg.Wait()
				return r, ctx.Err()
			}
		}
		r.Late = max(r.Late, time.Since(due))
		if inFlight.Load() >= int64(o.MaxInFlight) {
			r.Missed++
			continue
		}
		r.Sent++
		inFlight.Add(1)
		wg.Go(func() {
			defer inFlight.Add(-1)
			outcome := o.Do(ctx, n, due)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			r.Outcomes[outcome]++
			if r.Latency[outcome] == nil {
				r.Latency[outcome] = NewHistogram()
			}
			r.Latency[outcome].Record(took)
		})
	}
	wg.Wait()
	return r, ctx.Err()
}

// later is the first time from then on at which the generator is awake.
func later(after, every time.Duration) time.Duration {
	if every <= 0 {
		return after
	}
	return (after + every - 1) / every * every
}

// Histogram holds times from a microsecond to an hour with two significant digits. It is not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram makes an empty one.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, time.Hour.Microseconds(), 2)}
}

// Record adds a time; one that is out of range counts as the nearest that is in it.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(1, d.Microseconds()), time.Hour.Microseconds())) // in range, as was just seen to
}

// Count is how many times were recorded.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// At is the time below which so many per cent of all lie; zero if there are none.
func (h *Histogram) At(percent float64) time.Duration {
	if h.h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(percent)) * time.Microsecond
}
