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

// intakeMax bounds the orders of a measurement of the intake: they all wait at the same time.
const intakeMax = 10_000

// measureHTTP measures the whole way and, in a closed loop, how fast orders are taken in while nobody waits for their
// ends: with the workers at work on the same cores, and with the workers stopped.
func (r *run) measureHTTP(ctx context.Context) (err error) {
	r.o.Progress("measuring the whole way of orders over HTTP")
	if r.report.Measured, err = r.phase(ctx, r.main("main"), &r.o); err != nil || r.o.Rate > 0 {
		return err
	}
	r.o.Progress("measuring how fast orders are taken in")
	if r.report.Intake, err = r.measureIntake(ctx, r.plan("intake", r.o.Sagas), nil); err != nil {
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
	p := r.plan("alone", r.o.Sagas)
	if r.o.CPUProfile != "" {
		alone.CPUProfile = r.o.CPUProfile + ".alone"
	}
	p.placed = func(ctx context.Context) error {
		r.o.Progress("starting the workers again")
		return shop.startWorkers(ctx)
	}
	r.report.IntakeAlone, err = r.measureIntake(ctx, p, &alone)
	return err
}

func (r *run) measureIntake(ctx context.Context, p plan, to *Options) (*Intake, error) {
	if p.sagas == 0 || p.sagas > intakeMax {
		p.sagas = intakeMax
	}
	p.inFlight, p.untilPlaced = p.sagas, true
	m, placed, err := r.phaseAndPlacing(ctx, p, to)
	return &Intake{
		Sagas:        int(placed.placed.Load()),
		AcceptedPerS: digits(float64(placed.placed.Load()) / max(1e-9, placed.end.Sub(placed.start).Seconds())),
		quantiles:    m.Answer, Refused: m.Refused, SagasPerS: m.SagasPerS,
		CPU: m.CPU, Allocs: m.Allocs, AllocBytes: m.AllocBytes,
	}, err
}
