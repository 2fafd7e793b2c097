package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
)

// deadParticipant is the one that is away while orders wait for it: that of the last step.
const deadParticipant = "shipping"

// never is the fate of orders that never come to the last step.
func never(uint64) fate { return declined }

func always(uint64) fate { return completes }

// Waiting is what orders that wait for a dead worker do to the others, which do not need it.
type Waiting struct {
	Sagas int `json:"sagas"`
	// Alone is measured before they are there; the report's own figures are those with them.
	Alone Measured `json:"alone"`
	// Drained is how long it took from the start of the worker until the last of them had ended.
	Drained float64 `json:"drained_s"`
}

// measureWaiting measures orders that are declined, and so do not need the last participant: alone, and while others wait
// for that one, which is dead. Then it comes back, and the others come to their end.
func (r *run) measureWaiting(ctx context.Context, s *threeStep) (err error) {
	w := &Waiting{Sagas: r.o.Waiting}
	r.report.Waiting = w
	r.o.Progress("measuring orders that do not need %s, alone", deadParticipant)
	p := r.main("alone")
	p.fate = never
	if w.Alone, err = r.phase(ctx, p, nil); err != nil {
		return err
	}
	r.o.Progress("placing %d orders that wait for %s", r.o.Waiting, deadParticipant)
	s.halt[deadParticipant]()
	p = r.plan("waiting", r.o.Waiting)
	p.fate, p.inFlight, p.leave = always, r.o.Waiting, r.o.Waiting
	if _, err := r.phase(ctx, p, nil); err != nil {
		return err
	}
	if err := r.ground.awaitBacklog(ctx, deadParticipant, r.o.Waiting, s.failure); err != nil {
		return err
	}
	r.o.Progress("measuring orders that do not need it, with those that wait")
	p = r.main("beside")
	p.fate, p.leave = never, r.o.Waiting
	if r.report.Measured, err = r.phase(ctx, p, &r.o); err != nil {
		return err
	}
	r.report.WaitingRate = ratio(r.report.SagasPerS, w.Alone.SagasPerS)
	r.report.WaitingCPU = ratio(r.report.CPU[partTotal], w.Alone.CPU[partTotal])
	r.o.Progress("starting %s again", deadParticipant)
	r.ends.begin(nil)
	start := time.Now()
	if err := s.again[deadParticipant](ctx); err != nil {
		return err
	}
	err = r.gen.wait(ctx, 0)
	t, _, _ := r.ends.now()
	r.all.completed += t.completed
	r.all.compensated += t.compensated
	if t.ended() > 0 {
		w.Drained = digits(t.last.Sub(start).Seconds())
		r.report.DrainedPerS = digits(float64(t.ended()) / t.last.Sub(start).Seconds())
	}
	return err
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return digits(a / b)
}

// awaitBacklog returns when so many commands wait for a participant.
func (g *ground) awaitBacklog(ctx context.Context, participant string, n int, failure func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(g.kafka.Brokers...))
	if err != nil {
		return fmt.Errorf("waiting for a backlog: %w", err)
	}
	defer client.Close()
	topics := g.kafka.Topics()
	queue := kafka.Queue{Group: topics.Group(participant), Topic: topics.CommandTopic(participant)}
	for {
		backlogs, err := kafka.Backlogs(ctx, client, queue)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for a backlog: %w", err)
		}
		if backlogs[queue].Waiting() >= int64(n) {
			return nil
		}
		if err := failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a backlog of %d at %s, which has %d: %w", n, participant,
				backlogs[queue].Waiting(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
