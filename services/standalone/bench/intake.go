package bench

import (
	"context"
	"time"
)

const (
	// intakeRoom is how many orders may wait at the same time, less than a participant may leave unread.
	intakeRoom = 200_000
	// maxRequests is how many requests at a time a coordinator gets, less than it answers.
	maxRequests = 2000
	// admitAll lets the admission refuse nothing, however many orders wait: that is measured by `recourse overload`.
	admitAll = time.Hour
	// intakeMax bounds the orders of a measurement of the intake with the real services, which take their time to end them.
	intakeMax = 10_000
)

// measureIntakeOf measures how fast orders are taken in while the participants are stopped, and lets them come to their
// ends afterwards.
func (r *run) measureIntakeOf(ctx context.Context, s *threeStep) (err error) {
	for _, p := range participants {
		s.halt[p.name]()
	}
	r.o.Progress("measuring how fast orders are taken in while the participants are stopped")
	r.report.Notes = append(r.report.Notes,
		"CPU, WAL and allocations are those until the last order was accepted; the participants started after that")
	p := r.main("main")
	p.placed = func(ctx context.Context) error {
		r.o.Progress("starting the participants")
		for _, p := range participants {
			if err := s.again[p.name](ctx); err != nil {
				return err
			}
		}
		return nil
	}
	r.report.Measured, r.report.IntakeAlone, err = r.measureIntake(ctx, p, &r.o)
	return err
}

// measureIntake plays a plan and measures it until its last order is accepted.
func (r *run) measureIntake(ctx context.Context, p plan, to *Options) (Measured, *Intake, error) {
	p.untilPlaced = true
	m, placed, err := r.phaseAndPlacing(ctx, p, to)
	return m, &Intake{
		Sagas:        int(placed.placed.Load()),
		AcceptedPerS: digits(float64(placed.placed.Load()) / max(1e-9, placed.end.Sub(placed.start).Seconds())),
		quantiles:    m.Answer, Refused: m.Refused, SagasPerS: m.SagasPerS,
		CPU: m.CPU, Allocs: m.Allocs, AllocBytes: m.AllocBytes,
	}, err
}
