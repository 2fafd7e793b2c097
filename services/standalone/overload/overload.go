package overload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"recourse.dev/pkg/kafka"
	"recourse.dev/services/audit"
	"recourse.dev/services/standalone/load"
)

// Options of a run.
type Options struct {
	System audit.System
	Kafka  kafka.Config
	// Seconds is how long the overload lasts, Factor how many times the sustainable rate it is.
	Seconds int
	Factor  float64
	// LeastGoodput is the part of the maximum that must come to its end meanwhile.
	LeastGoodput float64
	// MostRecovery is after how long latency must be back to normal.
	MostRecovery time.Duration
	// Run names this run in references and keys.
	Run string
	// Peak reads the most memory that each process has used, in MiB.
	Peak   func() map[string]int
	MaxMiB int
	// Unbounded processes are reported and not judged: simulators of providers, which keep all their books in memory.
	Unbounded []string
	// Halt stops the shipping worker and Resume starts it again.
	Halt, Resume func(ctx context.Context) error
	// Progress is told what is going on.
	Progress func(format string, args ...any)
}

const (
	// calmShare is the part of the maximum that counts as a normal load.
	calmShare = 0.3
	// calmFor is how long a normal load is looked at, before the overload and twice as long after it.
	calmFor = 10 * time.Second
	// declinedEvery order has a card that is declined, so that undoing is part of the load.
	declinedEvery = 20
	// awake is how often the generator of the open loops looks what is due: at thousands a second it would be awake all
	// the time otherwise.
	awake = 10 * time.Millisecond
	goods = 50
	// filling is how long the overload lasts before its goodput is counted. The maximum is that of a system whose queues
	// are full when counting begins and when it ends; the wave meets empty ones, and the orders that fill them are worked
	// on in the wave and end after it. The seconds are added to the wave and not taken from what is counted.
	filling  = 5 * time.Second
	patience = 2 * time.Minute
)

// run is an overload test under way.
type run struct {
	o    Options
	shop *load.Shop
	ends *load.Ends
	// number names orders; placed counts those of the mix.
	number, placed atomic.Int64
	// ended has a token for every end while a closed loop runs.
	ended chan struct{}
	// best is the closed loop that ended the most.
	best   loop
	report *Report
}

// Run plays the test and reports. The error is for a system that cannot be used at all.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &run{
		o: o, shop: load.NewShop(o.System.Coordinator, o.System.Inventory, 512), ended: make(chan struct{}, 100_000),
		report: newReport(o),
	}
	defer r.shop.Close()
	var skus []string
	for i := range goods {
		skus = append(skus, sku(i))
	}
	if err := r.shop.Stock(ctx, "load-"+o.Run, skus...); err != nil {
		return nil, err
	}
	var err error
	r.ends, err = load.Follow(ctx, o.Kafka, func(load.End) {
		select {
		case r.ended <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	defer r.ends.Close()
	for _, phase := range []func(context.Context) error{r.maximum, r.wave, r.again, r.down, r.audit} {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	r.report.PeakMiB = o.Peak()
	r.report.judge(o)
	return r.report, nil
}

func sku(i int) string { return fmt.Sprintf("SKU-LOAD-%02d", i%goods) }

// loop is a closed loop of a measurement of the maximum.
type loop struct {
	open           int
	warm, measured time.Duration
}

// loops are the sizes that are tried. The first one also warms everything up. The times are long because the maximum is
// what the goodput of two minutes is compared with: over six seconds it was seen to differ by a fifth from one time to
// the next, and the better of two such figures is too high more often than not.
var loops = []loop{{128, 6 * time.Second, 12 * time.Second}, {400, 3 * time.Second, 12 * time.Second}}

// maximum finds the sustainable rate: the best of the closed loops.
func (r *run) maximum(ctx context.Context) error {
	best := 0.0
	for _, l := range loops {
		rate, err := r.closed(ctx, l)
		if err != nil {
			return err
		}
		if rate > best {
			best, r.best = rate, loop{l.open, 3 * time.Second, 12 * time.Second}
		}
	}
	if best < 1 {
		return fmt.Errorf("the system ends %.1f orders a second: too few to measure anything", best)
	}
	r.report.Sustainable = best
	return nil
}

// again measures the maximum once more, with the loop that was the best: other work on the machine comes and goes, so
// the goodput is compared with the mean of the two.
func (r *run) again(ctx context.Context) (err error) {
	w := r.report
	if w.SustainableAfter, err = r.closed(ctx, r.best); err != nil {
		return err
	}
	w.GoodputRatio = round(w.Goodput/((w.Sustainable+w.SustainableAfter)/2), 3)
	return nil
}

// closed keeps so many orders open and returns how many ended a second after it was warm.
func (r *run) closed(ctx context.Context, l loop) (float64, error) {
	r.o.Progress("measuring the maximum with %d orders open", l.open)
	for len(r.ended) > 0 {
		<-r.ended
	}
	stop := time.After(l.warm + l.measured)
	start := time.Now()
	places := make(chan struct{}, l.open)
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-stop:
			from := start.Add(l.warm)
			rate := float64(r.ends.Between(from, from.Add(l.measured))) / l.measured.Seconds()
			r.o.Progress("%.0f ended a second", rate)
			return rate, r.ends.Wait(ctx, patience)
		case <-r.ended:
			select {
			case <-places:
			default:
			}
		case places <- struct{}{}:
			go func() {
				outcome, after := r.place(ctx, time.Now())
				if outcome == load.Accepted {
					return
				}
				select {
				case <-time.After(max(after, 100*time.Millisecond)):
				case <-ctx.Done():
				}
				r.ended <- struct{}{}
			}()
		}
	}
}

// place places one order of the mix.
func (r *run) place(ctx context.Context, due time.Time) (load.Outcome, time.Duration) {
	n := r.placed.Add(1)
	token := "tok_visa"
	if n%declinedEvery == 0 {
		token = "tok_declined"
	}
	_, outcome, after := r.submit(ctx, "mix", sku(int(n)), token, due)
	return outcome, after
}

func (r *run) submit(
	ctx context.Context, kind, sku, token string, due time.Time,
) (uuid.UUID, load.Outcome, time.Duration) {
	reference := fmt.Sprintf("%s-%s-%d", r.o.Run, kind, r.number.Add(1))
	id, outcome, after := r.shop.Submit(ctx, load.NewOrder(reference, sku, token))
	if outcome == load.Accepted {
		r.ends.Expect(id, kind, due)
	}
	return id, outcome, after
}

// wave is the normal load, the overload, and the normal load again.
func (r *run) wave(ctx context.Context) error {
	calm := r.report.Sustainable * calmShare
	r.o.Progress("normal load: %.0f orders a second", calm)
	before := time.Now()
	if _, err := r.open(ctx, calm, calmFor); err != nil {
		return err
	}
	start := time.Now()
	rate, counted := r.report.Sustainable*r.o.Factor, time.Duration(r.o.Seconds)*time.Second
	seconds := filling + counted
	r.o.Progress("overload: %.0f orders a second for %s", rate, seconds)
	showing, quiet := context.WithCancel(ctx)
	go r.show(showing)
	result, err := r.open(ctx, rate, seconds)
	quiet()
	if err != nil {
		return err
	}
	stop := start.Add(seconds)
	r.o.Progress("normal load again")
	after, err := r.open(ctx, calm, 2*calmFor)
	if err != nil {
		return err
	}
	if err := r.ends.Wait(ctx, patience); err != nil {
		return err
	}
	w := r.report
	w.Goodput = float64(r.ends.Between(start.Add(filling), stop)) / counted.Seconds()
	w.offered(result, after)
	w.P99Normal = quantile(r.ends.Since(before), before, start, 99)
	w.P99Overload = quantile(r.ends.Since(start), start, stop, 99)
	w.P50Overload = quantile(r.ends.Since(start), start, stop, 50)
	w.RecoverySeconds, w.P99After = recovery(r.ends.Since(stop), stop, 2*calmFor, w.P99Normal)
	return nil
}

// show tells every ten seconds how it goes.
func (r *run) show(ctx context.Context) {
	const every = 10 * time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.o.Progress("%.0f ended a second, %d are open", float64(r.ends.Between(now.Add(-every), now))/every.Seconds(), r.ends.Open())
		}
	}
}

// open sends the mix at a rate.
func (r *run) open(ctx context.Context, rate float64, duration time.Duration) (*load.Result, error) {
	return load.Run(ctx, load.Options{
		Rate: rate, Duration: duration, Every: awake,
		Do: func(ctx context.Context, _ int, due time.Time) load.Outcome {
			outcome, after := r.place(ctx, due)
			if outcome == load.Refused && after < time.Second {
				return load.Unavailable // a refusal says when to come back
			}
			return outcome
		},
	})
}

// quantile is that of the times of the orders that were due in a span, in milliseconds.
func quantile(ends []load.End, from, to time.Time, percent float64) float64 {
	h := load.NewHistogram()
	for _, end := range ends {
		if !end.From.Before(from) && end.From.Before(to) {
			h.Record(end.At.Sub(end.From))
		}
	}
	return milliseconds(h.At(percent))
}

// recovery says after how many seconds the orders take as long as before again, and to stay so: the 95th percentile of
// each second from then on is at most half more than the 99th of the normal load. It also returns the 99th percentile
// of what came after that.
func recovery(ends []load.End, from time.Time, span time.Duration, normal float64) (seconds, p99 float64) {
	limit := max(1.5*normal, normal+50)
	slices.SortFunc(ends, func(a, b load.End) int { return cmp.Compare(a.From.UnixNano(), b.From.UnixNano()) })
	last := 0
	for second := range int(span / time.Second) {
		at := from.Add(time.Duration(second) * time.Second)
		if quantile(ends, at, at.Add(time.Second), 95) > limit {
			last = second + 1
		}
	}
	return float64(last), quantile(ends, from.Add(time.Duration(last)*time.Second), from.Add(span), 99)
}

func (r *run) audit(ctx context.Context) error {
	r.o.Progress("comparing the books")
	books, err := audit.Conservation(ctx, r.o.System)
	if err != nil {
		return err
	}
	r.report.Audit = Audit{
		Orders: books.Orders, Open: books.Open, Doubled: len(books.Doubled), HeldAfterUndo: len(books.HeldAfterUndo),
		Missing: len(books.Missing), StockDifferences: len(books.Stock), MoneyDifferences: len(books.Money),
	}
	for _, f := range books.Findings() {
		r.report.Findings = append(r.report.Findings, f.Order+" "+f.What)
	}
	return nil
}
