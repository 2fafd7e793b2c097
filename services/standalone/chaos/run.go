package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	inventoryapi "recourse.dev/schemas/gen/api/inventory"
	"recourse.dev/services/standalone/stack"
)

// Options of a run.
type Options struct {
	Plan *Plan
	// KafkaHome is a directory with Kafka's jars; see KafkaHome.
	KafkaHome string
	// Out keeps everything about the run. Empty: a temporary directory, which is removed if nothing was found.
	Out string
	// Binary is what the members are; empty is this process's own.
	Binary string
	// Patience bounds the wait until all is quiet. Default 3 minutes.
	Patience time.Duration
	Progress func(format string, args ...any)
}

// Run plays a plan. The error is for a run that could not be played; what was found is in the report.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	begin := time.Now()
	if o.Patience == 0 {
		o.Patience = 3 * time.Minute
	}
	dir, keep := o.Out, true
	if dir == "" {
		keep = false
		if dir, err = os.MkdirTemp("", "recourse-chaos-"); err != nil {
			return nil, fmt.Errorf("making a directory for the run: %w", err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the database's own user passes through
			return nil, fmt.Errorf("opening the run's directory: %w", err)
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("finding the run's directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the run's directory: %w", err)
	}
	defer func() {
		if r != nil && (keep || !r.OK()) {
			r.Artefacts = dir
		} else if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	if err := o.Plan.Write(filepath.Join(dir, "plan.json")); err != nil {
		return nil, err
	}
	w, err := newWorld(ctx, o, dir)
	if err != nil {
		return nil, fmt.Errorf("%w\nlogs are in %s", err, dir)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if stopErr := w.stop(stopping); stopErr != nil {
			o.Progress("stopping: %s", firstLine(stopErr))
		}
	}()
	r, err = w.play(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w\nlogs are in %s", err, dir)
	}
	r.Seconds = round(time.Since(begin).Seconds())
	return r, w.writeReport(r)
}

// play is the run itself: load and faults, healing, quiet, verdict.
func (w *world) play(ctx context.Context) (*Report, error) {
	plan, say := w.o.Plan, w.o.Progress
	r := &Report{Seed: plan.Seed, Faults: map[string]int{}, SecondsToQuiet: -1}
	if err := w.stock(ctx); err != nil {
		return nil, err
	}
	log, err := newClientLog(filepath.Join(w.dir, "clients.jsonl"))
	if err != nil {
		return nil, err
	}
	defer log.close() //nolint:errcheck // closed below; this is for errors on the way
	shop := newShop(plan, w.stack.URL(stack.Coordinator), log)
	w.open = func() int { return int(shop.open.Load()) }
	following, giveUp := context.WithCancel(ctx)
	defer giveUp()
	placed, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		shop.run(following, placed)
	}()
	go w.tell(ctx, shop, ended)
	director := &director{
		world: w, say: say, over: placed,
		submitted: func() int { return int(shop.submitted.Load()) },
	}
	records := director.play(ctx, plan.Faults)
	for _, s := range records {
		if s.Error == "" {
			r.Faults[s.Kind]++
		} else {
			r.FaultsFailed++
			r.Findings = append(r.Findings, fmt.Sprintf("fault %s failed: %s", s.Fault, s.Error))
		}
	}
	<-placed
	if err := w.healAll(ctx); err != nil {
		return nil, err
	}
	say("all faults are healed, all orders placed; %d are open", shop.open.Load())
	healed := time.Now()
	select {
	case <-ended:
		if err := w.awaitAll(ctx); err != nil {
			r.Findings = append(r.Findings, "not quiet: "+err.Error())
		} else {
			r.SecondsToQuiet = round(time.Since(healed).Seconds())
		}
	case <-time.After(w.o.Patience):
		r.Findings = append(r.Findings, fmt.Sprintf("%d orders have not ended within %s", shop.open.Load(), w.o.Patience))
		w.keepStuck(ctx, shop)
		giveUp()
		<-ended
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return r, w.conclude(ctx, r, shop, records, log)
}

// conclude waits for what may still come late, reads everything and judges.
func (w *world) conclude(ctx context.Context, r *Report, shop *shop, records []struck, log *clientLog) error {
	w.o.Progress("quiet after %.1f s; reading the books", r.SecondsToQuiet)
	// A request to a provider that is still on its way has its effect now or never.
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	w.tally.read(ctx, w)
	if err := w.readHistories(ctx, shop.sales); err != nil {
		return err
	}
	w.tally.add("commit_answer_lost", int(commitsCut.Load()))
	r.Sometimes = w.tally.all()
	e, err := w.gather(ctx, shop.sales)
	if err != nil {
		return err
	}
	e.judge(r)
	r.Never = r.missed()
	for _, u := range w.units {
		r.Died += u.died
		r.Findings = append(r.Findings, u.tails...)
	}
	return errors.Join(log.close(), w.writeJSON("faults.json", records), w.writeJSON("gateway.json", e.gateway),
		w.writeJSON("carrier.json", e.carrier))
}

// tell says every few seconds how far the run is.
func (w *world) tell(ctx context.Context, s *shop, ended <-chan struct{}) {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.o.Progress("%d of %d orders placed, %d open", s.submitted.Load(), s.plan.Sagas, s.open.Load())
		case <-ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// awaitAll waits until every member is ready.
func (w *world) awaitAll(ctx context.Context) error {
	return again(ctx, func() error { return w.ready(ctx) })
}

// keepStuck writes down what the coordinator says about orders that have not ended.
func (w *world) keepStuck(ctx context.Context, s *shop) {
	var stuck []json.RawMessage
	for _, status := range []string{"accepted", "processing", "confirmed", "cancelling", "completed"} {
		var page struct {
			Orders []struct {
				ID      string  `json:"id"`
				EndedAt *string `json:"ended_at"`
			} `json:"orders"`
		}
		if err := w.read(ctx, s.base+"/v1/orders?limit=200&status="+status, &page); err != nil {
			w.o.Progress("reading orders that have not ended: %s", firstLine(err))
			continue
		}
		for _, o := range page.Orders {
			if o.EndedAt != nil || len(stuck) >= 100 {
				continue
			}
			for _, path := range []string{"/v1/orders/" + o.ID, "/v1/sagas/" + o.ID, "/v1/sagas/" + o.ID + "/history?limit=200"} {
				var text json.RawMessage
				if err := w.read(ctx, s.base+path, &text); err == nil {
					stuck = append(stuck, text)
				}
			}
		}
	}
	if err := w.writeJSON("stuck.json", stuck); err != nil {
		w.o.Progress("%s", firstLine(err))
	}
}

func (w *world) writeReport(r *Report) error {
	return w.writeJSON("report.json", struct {
		*Report
		Findings []string `json:"findings"`
	}{r, r.Findings})
}

func (w *world) writeJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o644); err != nil { //nolint:gosec // for everybody to read
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// stock fills the shelves.
func (w *world) stock(ctx context.Context) error {
	base := w.stack.URL(stack.Inventory)
	place := inventoryapi.NewLocation{Code: location, Country: "DE"}
	if err := w.send(ctx, http.MethodPost, base+"/v1/locations", place); err != nil {
		return fmt.Errorf("stocking the shelves: %w", err)
	}
	units := map[string]int64{hotItem: hotUnits, goneItem: 0}
	for n := range items {
		units[item(n)] = unitsOfItem
	}
	var lines []inventoryapi.ReceiptLine
	for sku, quantity := range maps.All(units) {
		if err := w.send(ctx, http.MethodPost, base+"/v1/items", inventoryapi.NewItem{Sku: sku}); err != nil {
			return fmt.Errorf("stocking the shelves: %w", err)
		}
		if quantity > 0 {
			lines = append(lines, inventoryapi.ReceiptLine{Sku: sku, Location: location, Quantity: quantity})
		}
	}
	for len(lines) > 0 {
		n := min(len(lines), 50)
		if err := w.send(ctx, http.MethodPost, base+"/v1/stock/receive", inventoryapi.Receipt{Lines: lines[:n]}); err != nil {
			return fmt.Errorf("stocking the shelves: %w", err)
		}
		lines = lines[n:]
	}
	return nil
}

func round(seconds float64) float64 { return float64(int(seconds*10+0.5)) / 10 }
