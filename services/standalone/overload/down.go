package overload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"recourse.dev/services/standalone/load"
)

// soldOut is a SKU that nobody ever received.
const soldOut = "SKU-LOAD-SOLD-OUT"

// kinds are the orders of the second part. All but the last come to their end without the shipping worker.
var kinds = []struct{ name, sku, token string }{
	{"out_of_stock", soldOut, "tok_visa"},
	{"declined", "", "tok_declined"},
	{"cancelled", "", "tok_slow"},
	{waiting, "", "tok_visa"},
}

const (
	// waiting orders do need it.
	waiting = "waiting"
	// completing orders have their label when the worker goes down: the answer to their charge is lost, and asked for
	// again a while later. They are placed during the last seconds before it.
	completing      = "completing"
	completingToken = "tok_capture_answer_lost"
	completingFor   = 6 * time.Second
	completingEvery = 50 * time.Millisecond
	downFor         = 15 * time.Second
)

// down compares the times of orders that do not need the shipping worker, with and without it.
func (r *run) down(ctx context.Context) error {
	rate := r.report.Sustainable * calmShare
	r.o.Progress("orders of all kinds with every worker up")
	up := time.Now()
	late, err := r.mixed(ctx, rate, calmFor)
	if err != nil {
		return err
	}
	r.o.Progress("the shipping worker is stopped for %s", downFor)
	if err := r.o.Halt(ctx); err != nil {
		return err
	}
	down := time.Now()
	labelled, err := r.labelled(ctx, late)
	if err != nil {
		return err
	}
	if _, err := r.mixed(ctx, rate, downFor); err != nil {
		return err
	}
	stillDown := time.Now()
	r.report.Down.Waiting = r.ends.Open()
	r.o.Progress("%d orders wait for it; it is started again", r.report.Down.Waiting)
	if err := r.o.Resume(ctx); err != nil {
		return err
	}
	if err := r.ends.Wait(ctx, patience); err != nil {
		return err
	}
	r.report.Down.DrainSeconds = round(time.Since(stillDown).Seconds(), 1)
	r.report.Down.Kinds = map[string]Kind{}
	with, without := map[string]*load.Histogram{}, map[string]*load.Histogram{}
	for _, k := range kinds {
		with[k.name], without[k.name] = load.NewHistogram(), load.NewHistogram()
	}
	with[completing], without[completing] = load.NewHistogram(), load.NewHistogram()
	for _, end := range r.ends.Since(up) {
		took := end.At.Sub(end.From)
		switch {
		case end.Kind == completing && end.At.Before(down), end.Kind != completing && end.From.Before(down):
			with[end.Kind].Record(took)
		case end.Kind != completing || labelled[end.ID]:
			without[end.Kind].Record(took)
		}
	}
	for name := range with {
		if name != waiting {
			r.report.Down.Kinds[name] = Kind{
				Up: with[name].Count(), Down: without[name].Count(),
				P95Up: milliseconds(with[name].At(95)), P95Down: milliseconds(without[name].At(95)),
			}
		}
	}
	return nil
}

// labelled says which of the orders are open and have their label already.
func (r *run) labelled(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	found := map[uuid.UUID]bool{}
	for _, id := range ids {
		o, err := r.shop.Order(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, claim := range o.Claims {
			if claim.Name == "shipment_booked" && o.EndedAt == nil {
				found[id] = true
			}
		}
	}
	return found, nil
}

// mixed sends all kinds in turn, and at the end orders that complete late, whose ids it returns.
func (r *run) mixed(ctx context.Context, rate float64, duration time.Duration) (late []uuid.UUID, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-time.After(duration - completingFor):
		case <-ctx.Done():
			return
		}
		ticker := time.NewTicker(completingEvery)
		defer ticker.Stop()
		for i := range int(completingFor / completingEvery) {
			if id, outcome, _ := r.submit(ctx, completing, sku(i), completingToken, time.Now()); outcome == load.Accepted {
				late = append(late, id)
			}
			<-ticker.C
		}
	})
	result, err := load.Run(ctx, load.Options{
		Rate: rate, Duration: duration,
		Do: func(ctx context.Context, n int, due time.Time) load.Outcome {
			k := kinds[n%len(kinds)]
			if k.sku == "" {
				k.sku = sku(n)
			}
			id, outcome, _ := r.submit(ctx, k.name, k.sku, k.token, due)
			if k.token == "tok_slow" && outcome == load.Accepted && !r.shop.Cancel(ctx, id) {
				return load.Failed
			}
			return outcome
		},
	})
	wg.Wait()
	if err != nil {
		return nil, err
	}
	if n := result.Outcomes[load.Failed] + result.Outcomes[load.Unavailable]; n > 0 {
		return nil, fmt.Errorf("%d of %d requests failed under a normal load", n, result.Sent)
	}
	r.report.Down.Refused += result.Outcomes[load.Refused]
	return late, nil
}
