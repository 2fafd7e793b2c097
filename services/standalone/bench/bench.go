package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"recourse.dev/coordinator"
)

// alone keeps two runs in one process apart: what is measured is the process's.
var alone sync.Mutex

// run is a run under way.
type run struct {
	o        Options
	ground   *ground
	platform platform
	ends     *ends
	gen      *generator
	meter    *meter
	base     reading
	all      expected
	report   *Report
	// finished says that the report is whole.
	finished bool
}

// Run measures a workload. When ctx ends before, the report says what was measured until then. The report is nil if
// there is nothing to tell; with both, the run's end went wrong.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	alone.Lock()
	defer alone.Unlock()
	as(ctx, partGenerator, func(ctx context.Context) {
		r := &run{o: o, ends: newEnds()}
		if err = r.play(ctx); r.finished {
			report = r.report
		}
	})
	return report, err
}

func (r *run) play(ctx context.Context) (err error) {
	begin := time.Now()
	if r.ground, err = newGround(ctx, &r.o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.ground.close(ctx)) }()
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	var counter sync.WaitGroup
	counter.Go(func() { r.ends.run(counting) })
	defer counter.Wait()
	defer stopCounting()

	r.o.Progress("starting the platform")
	if r.platform, err = start(ctx, r.ground, &r.o, r.ends.hear); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stopPlatform(ctx)) }()
	if err := r.ground.awaitGroups(ctx, r.platform.groups(&r.o), r.platform.failure); err != nil {
		return fmt.Errorf("%w\nthe end of the log:\n%s", err, r.ground.tail())
	}
	if r.meter, err = newMeter(ctx, r.ground, &r.o); err != nil {
		return err
	}
	defer r.meter.close(ctx)
	if err := r.meter.count(ctx, &r.base); err != nil {
		return err
	}
	r.gen = &generator{seed: r.o.Seed, place: r.platform.place, ends: r.ends, failure: r.platform.failure}
	r.report = r.newReport()
	r.o.Progress("ready after %.1f s", time.Since(begin).Seconds())
	if s, ok := r.platform.(*threeStep); ok && r.o.Finished > 0 {
		if err := r.fillFinished(ctx, s); err != nil {
			return err
		}
	}
	if r.o.Warmup > 0 {
		if _, err := r.phase(ctx, r.plan("warm", r.o.Warmup), nil); err != nil {
			return err
		}
	}
	err = r.measured(ctx)
	if errors.Is(err, errStopped) {
		r.report.Stopped, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("%w\nthe end of the log:\n%s", err, r.ground.tail())
	}
	return r.finish(context.WithoutCancel(ctx))
}

// start brings the platform of the workload up.
func start(ctx context.Context, g *ground, o *Options, hear func([]coordinator.End)) (platform, error) {
	if o.Workload == ThreeStep || o.Workload == IntakeOnly {
		return startThreeStep(ctx, g, o, hear)
	}
	return startWhole(ctx, g, o, hear)
}

func (r *run) stopPlatform(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 45*time.Second)
	defer cancel()
	return r.platform.stop(ctx)
}

func (r *run) newReport() *Report {
	report := &Report{
		Workload: r.o.Workload, Loop: "closed", InFlight: r.o.InFlight, Rate: r.o.Rate, Broker: "embedded",
		Postgres: r.ground.pg.Version(), Cores: runtime.GOMAXPROCS(0), Warmup: r.o.Warmup, Seed: r.o.Seed,
		Finished: r.o.Finished, Coordinators: r.o.Coordinators, Wrong: []string{},
	}
	if r.o.Rate > 0 {
		report.Loop, report.InFlight = "open", 0
	}
	if len(r.o.Kafka) > 0 {
		report.Broker = "kafka"
		if r.o.KafkaPID == 0 {
			report.Notes = append(report.Notes, "the broker's CPU time is not in the total; --kafka-pid names its process")
		}
	}
	report.Workers = r.o.Workers
	if r.o.Workload == HTTP || r.o.Workload == IntakeOnly {
		report.Notes = append(report.Notes, "ADMIT_WITHIN is "+admitAll.String()+" here: admission refuses nothing")
	}
	return report
}

// plan is the closed loop of so many orders.
func (r *run) plan(name string, sagas int) plan {
	p := plan{name: name, sagas: sagas, inFlight: r.o.InFlight, placers: 512, sku: spread, fate: fateOf}
	switch r.o.Workload {
	case HTTP:
		p.placers = connections
	case IntakeOnly:
		p.placers, p.inFlight = r.o.InFlight, intakeRoom
	}
	return p
}

// main is what the options ask for.
func (r *run) main(name string) plan {
	p := r.plan(name, r.o.Sagas)
	p.duration, p.rate = r.o.Duration, r.o.Rate
	return p
}

func (r *run) measured(ctx context.Context) (err error) {
	switch r.o.Workload {
	case HotSKU:
		return r.measureHot(ctx)
	case HTTP:
		return r.measureHTTP(ctx)
	}
	if s, ok := r.platform.(*threeStep); ok && r.o.Workload == IntakeOnly {
		return r.measureIntakeOf(ctx, s)
	} else if ok && r.o.Waiting > 0 {
		return r.measureWaiting(ctx, s)
	}
	r.o.Progress("measuring")
	r.report.Measured, err = r.phase(ctx, r.main("main"), &r.o)
	return err
}

func (r *run) phase(ctx context.Context, p plan, to *Options) (Measured, error) {
	m, _, err := r.phaseAndPlacing(ctx, p, to)
	return m, err
}

// phaseAndPlacing plays a plan and measures it. What else the options ask for is told in the report, if they are given.
func (r *run) phaseAndPlacing(ctx context.Context, p plan, to *Options) (m Measured, placed *placing, err error) {
	if to == nil {
		to = &Options{}
	}
	placed = &placing{}
	measuring := context.WithoutCancel(ctx)
	before, err := r.meter.read(measuring)
	if err != nil {
		return m, placed, err
	}
	var sampled *waiting
	if to.Waits {
		if sampled, err = startWaiting(measuring, r.ground); err != nil {
			return m, placed, err
		}
	}
	profile, err := startProfile(to, profilePiece)
	if err != nil {
		return m, placed, err
	}
	memory := startRemembering()
	var (
		after               reading
		shares              map[string]float64
		tenths              []float64
		growth              float64
		readErr, profileErr error
	)
	look := sync.OnceFunc(func() {
		after, readErr = r.meter.read(measuring)
		tenths, growth = memory.stop() // before the profiles are written
		shares, profileErr = profile.stop()
	})
	if next := p.placed; p.untilPlaced {
		p.placed = func(ctx context.Context) error {
			look()
			if next == nil {
				return nil
			}
			return next(ctx)
		}
	}
	placed, err = r.gen.run(ctx, p)
	look()
	t, _, _ := r.ends.now()
	var waitsErr error
	if sampled != nil {
		waitsErr = r.tellWaits(measuring, sampled, t.ended())
	}
	r.all.completed += t.completed
	r.all.compensated += t.compensated
	for f := range r.all.fates {
		r.all.fates[f] += placed.fates[f].Load()
	}
	if err == nil || errors.Is(err, errStopped) {
		if broken := errors.Join(readErr, profileErr, waitsErr); broken != nil {
			return m, placed, broken
		}
	}
	of := t.ended()
	if p.untilPlaced {
		of = int(placed.placed.Load())
	}
	m = measure(t, of, placed, before, after, shares)
	m.Memory, m.MemoryGrowth = tenths, growth
	return m, placed, err
}

func (r *run) tellWaits(ctx context.Context, w *waiting, sagas int) (err error) {
	r.report.Waits, r.report.Statements, err = w.stop(ctx, r.ground.statements, sagas)
	if !r.ground.statements {
		r.report.Notes = append(r.report.Notes, "PostgreSQL has no pg_stat_statements here, so its statements are unknown")
	}
	return err
}

// finish adds what is known of the whole run, and looks whether everything adds up.
func (r *run) finish(ctx context.Context) error {
	report := r.report
	report.PeakRSS = digits(float64(peakRSS()) / (1 << 20))
	found, err := r.platform.batches(ctx)
	if err != nil {
		return err
	}
	report.Batches = found.means()
	_, open, strangers := r.ends.now()
	if err := r.platform.quiet(ctx); err != nil {
		return err
	}
	if err := r.meter.settle(ctx); err != nil {
		return err
	}
	var now reading
	if err := r.meter.count(ctx, &now); err != nil {
		return err
	}
	n := float64(max(1, r.all.completed+r.all.compensated))
	report.RowWrites = digits(float64(now.writes-r.base.writes) / n)
	report.Commits = digits(float64(now.commits-r.base.commits) / n)
	report.HotByTable, report.HotShare = hotShares(r.base, now)
	if report.Stopped {
		r.finished = true
		return nil
	}
	r.o.Progress("looking whether everything adds up")
	if open > 0 || strangers > 0 {
		report.Wrong = append(report.Wrong,
			fmt.Sprintf("%d orders are open, and %d ended that nobody placed, or twice", open, strangers))
	}
	r.all.scarce = r.o.Stock > 0
	wrong, err := r.platform.check(ctx, r.ground, r.all)
	report.Wrong = append(report.Wrong, wrong...)
	report.Conservation = err == nil && len(report.Wrong) == 0
	r.finished = err == nil
	return err
}

// goods is over how many SKUs orders spread.
const goods = 50

func spread(n int) string { return fmt.Sprintf("SKU-LOAD-%02d", n%goods) }
