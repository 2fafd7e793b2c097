package bench

import (
	"math"
	"slices"
	"sync"
	"time"
)

// memoryEvery is how often this process's memory is looked at.
const memoryEvery = 50 * time.Millisecond

// remembering watches this process's memory while a phase runs.
type remembering struct {
	samples []int64
	stopped chan struct{}
	done    sync.WaitGroup
}

func startRemembering() *remembering {
	r := &remembering{samples: []int64{rss()}, stopped: make(chan struct{})}
	r.done.Go(func() {
		ticker := time.NewTicker(memoryEvery)
		defer ticker.Stop()
		for {
			select {
			case <-r.stopped:
				return
			case <-ticker.C:
				r.samples = append(r.samples, rss())
			}
		}
	})
	return r
}

// stop gives the most memory of each tenth of the time, and by how much the last three tenths are above the three after
// the first one, in MiB. The first one fills caches and the heap up to where it is collected.
func (r *remembering) stop() (tenths []float64, growth float64) {
	close(r.stopped)
	r.done.Wait()
	n := len(r.samples)
	for i := range 10 {
		from := i * n / 10
		tenths = append(tenths, mebibytes(slices.Max(r.samples[from:max(from+1, (i+1)*n/10)])))
	}
	mean := func(list []float64) float64 {
		sum := 0.0
		for _, x := range list {
			sum += x
		}
		return sum / float64(len(list))
	}
	return tenths, math.Round(10*(mean(tenths[7:])-mean(tenths[1:4]))) / 10
}

func mebibytes(bytes int64) float64 { return math.Round(10*float64(bytes)/(1<<20)) / 10 }
