package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// struck is what became of a fault.
type struck struct {
	Fault
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	// Error says why it could not be brought about; such a fault does not count.
	Error string `json:"error,omitempty"`
}

// atOnce is how many faults last at the same time at most.
const atOnce = 3

// director lets the faults of a plan happen in their order.
type director struct {
	world *world
	say   func(format string, args ...any)
	// submitted counts orders; over is closed when all are.
	submitted func() int
	over      <-chan struct{}

	mu      sync.Mutex
	claimed []string
	active  int
	free    chan struct{} // is closed and made anew when a fault ends
	records []struck
}

func (d *director) play(ctx context.Context, faults []Fault) []struck {
	d.free = make(chan struct{})
	var playing sync.WaitGroup
	for i, f := range faults {
		if !d.due(ctx, f) || !d.claim(ctx, f) {
			break
		}
		playing.Go(func() {
			defer d.release(f)
			begin := time.Now()
			err := d.strike(ctx, f)
			s := struck{Fault: f, At: begin.UTC(), Seconds: time.Since(begin).Seconds()}
			text := ""
			if err != nil {
				s.Error = err.Error()
				text = ": " + firstLine(err)
			}
			d.say("fault %d of %d after %d orders: %s, %.1f s%s", i+1, len(faults), d.submitted(), f, s.Seconds, text)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.records = append(d.records, s)
		})
	}
	playing.Wait()
	return d.records
}

// due waits for the fault's trigger.
func (d *director) due(ctx context.Context, f Fault) bool {
	for d.submitted() < f.After {
		select {
		case <-ctx.Done():
			return false
		case <-d.over:
			return true
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ctx.Err() == nil
}

// claim waits until nobody else works on what the fault strikes.
func (d *director) claim(ctx context.Context, f Fault) bool {
	wanted := f.claimed()
	for {
		d.mu.Lock()
		taken := d.active >= atOnce || slices.ContainsFunc(wanted, func(name string) bool {
			return slices.Contains(d.claimed, name)
		})
		if !taken {
			d.active++
			d.claimed = append(d.claimed, wanted...)
			d.mu.Unlock()
			return true
		}
		free := d.free
		d.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return false
		}
	}
}

func (d *director) release(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active--
	for _, name := range f.claimed() {
		at := slices.Index(d.claimed, name)
		d.claimed = slices.Delete(d.claimed, at, at+1)
	}
	close(d.free)
	d.free = make(chan struct{})
}

// strike brings the fault about, lets it last, and heals it whatever happens. What could not be brought about because
// another fault was faster is tried again.
func (d *director) strike(ctx context.Context, f Fault) (err error) {
	const tries = 8
	for try := range tries {
		var heal healing
		heal, err = kindOf(f.Kind).strike(ctx, d.world, f)
		if err == nil && heal != nil {
			err = pause(ctx, f.lasts())
		}
		if heal != nil {
			healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
			healErr := heal(healing)
			cancel()
			if healErr != nil {
				return errors.Join(err, fmt.Errorf("healing: %w", healErr))
			}
		}
		if err == nil || ctx.Err() != nil || try == tries-1 {
			return err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}
