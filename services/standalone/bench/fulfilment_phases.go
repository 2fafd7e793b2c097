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

// intakeMax bounds the orders of the measurement of the intake alone: they all wait at the same time.
const intakeMax = 20_000

// measureHTTP measures the whole way and, in a closed loop, how fast orders are taken in while nobody waits for their
// ends.
func (r *run) measureHTTP(ctx context.Context) (err error) {
	r.o.Progress("measuring the whole way of orders over HTTP")
	if r.report.Measured, err = r.phase(ctx, r.main("main"), &r.o); err != nil || r.o.Rate > 0 {
		return err
	}
	p := r.plan("intake", intakeMax)
	if r.o.Sagas > 0 {
		p.sagas = min(p.sagas, r.o.Sagas)
	}
	p.inFlight, p.placers = p.sagas, connections
	r.o.Progress("measuring how fast %d orders are taken in", p.sagas)
	m, placed, err := r.phaseAndPlacing(ctx, p, nil)
	r.report.Intake = &Intake{
		Sagas:        int(placed.placed.Load()),
		AcceptedPerS: digits(float64(placed.placed.Load()) / placed.end.Sub(placed.start).Seconds()),
		quantiles:    m.Answer, Refused: m.Refused, SagasPerS: m.SagasPerS,
	}
	return err
}
