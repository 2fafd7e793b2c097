package bench

import (
	"context"
)

// measureHot measures orders that spread over many SKUs, then orders that all want one.
func (r *run) measureHot(ctx context.Context) error {
	r.o.Progress("measuring orders that want many SKUs")
	m, err := r.phase(ctx, r.main("spread"), nil)
	r.report.Spread = &m
	if err != nil {
		return err
	}
	r.o.Progress("measuring orders that all want one SKU")
	p := r.main("hot")
	p.sku = func(int) string { return hotSKU }
	r.report.Measured, err = r.phase(ctx, p, &r.o)
	if m.SagasPerS > 0 {
		r.report.Ratio = digits(r.report.SagasPerS / m.SagasPerS)
	}
	return err
}

// measureHTTP measures the whole way and, in a closed loop, how fast orders are taken in while nobody waits for their
// ends: with the workers at work on the same cores, and with the workers stopped.
func (r *run) measureHTTP(ctx context.Context) (err error) {
	r.o.Progress("measuring the whole way of orders over HTTP")
	if r.report.Measured, err = r.phase(ctx, r.main("main"), &r.o); err != nil || r.o.Rate > 0 {
		return err
	}
	r.o.Progress("measuring how fast orders are taken in")
	if _, r.report.Intake, err = r.measureIntake(ctx, r.intakePlan("intake"), nil); err != nil {
		return err
	}
	shop, ok := r.platform.(*whole)
	if !ok {
		return nil
	}
	r.o.Progress("measuring how fast orders are taken in while the workers are stopped")
	var alone Options
	if err := shop.haltWorkers(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	p := r.intakePlan("alone")
	if r.o.CPUProfile != "" {
		alone.CPUProfile = r.o.CPUProfile + ".alone"
	}
	p.placed = func(ctx context.Context) error {
		r.o.Progress("starting the workers again")
		return shop.startWorkers(ctx)
	}
	_, r.report.IntakeAlone, err = r.measureIntake(ctx, p, &alone)
	return err
}

// intakePlan places orders without waiting for the ends of others.
func (r *run) intakePlan(name string) plan {
	p := r.plan(name, r.o.Sagas)
	if p.sagas == 0 || p.sagas > intakeMax {
		p.sagas = intakeMax
	}
	p.inFlight = p.sagas
	return p
}
