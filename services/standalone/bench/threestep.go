package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/migrations"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	paymentv1 "recourse.dev/schemas/gen/recourse/payment/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
	"recourse.dev/services/standalone/load"
)

// maxWaiting is how many new orders may wait for their transaction here: the generator's own bound.
const maxWaiting = 50_000

// threeStepDefinition is the first three steps of the shipped saga. Nobody outside is called.
func threeStepDefinition() (*saga.Definition, error) {
	shipped, err := order.Fulfilment(order.DefaultTiming)
	if err != nil {
		return nil, err
	}
	var stages []saga.Stage
	for _, step := range shipped.Steps()[:3] {
		step.Outside, step.Retry = false, shipped.Steps()[0].Retry
		stages = append(stages, saga.Stage{step})
	}
	return saga.Define("bench.three_step", 1, shipped.Deadline(), stages...)
}

// threeStep is one or more coordinators and workers of three participants that have a decision to make and books to keep, but no trade.
type threeStep struct {
	definition   *saga.Definition
	coordinators []*coordinator.Service
	// shops reach the coordinators over HTTP; none: orders are handed to them in this process.
	shops      []*load.Shop
	placed     atomic.Uint64
	registries []*prometheus.Registry
	// databases are the names of the participants' ones, coordinatorDB that of the coordinator.
	databases []string
	// again starts the workers of a participant, halt stops them.
	again   map[string]func(context.Context) error
	halt    map[string]func()
	ground  *ground
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
	stopped sync.Once
}

const coordinatorDB = "bench_coordinator"

// participants of three-step, in the order of the steps.
var participants = []struct {
	name     string
	register func(*worker.Worker)
}{
	{"inventory", func(w *worker.Worker) {
		worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{
			Do: each(func(c *inventoryv1.ReserveStock) worker.Outcome {
				line := c.GetLines()[0]
				return holds("stock", line.GetQuantity(), line.GetSku())
			}),
			Undo: undone[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock],
		})
	}},
	{"payment", func(w *worker.Worker) {
		worker.Handle(w, worker.Handler[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization]{
			Do: each(func(c *paymentv1.AuthorizePayment) worker.Outcome {
				if c.GetPaymentToken() == tokenDeclined {
					return worker.Refused("card_declined", "the issuer declined the card")
				}
				return holds("authorization", c.GetAmountMinor(), c.GetCurrency())
			}),
			Undo: undone[*paymentv1.AuthorizePayment, *paymentv1.VoidAuthorization],
		})
	}},
	{"shipping", func(w *worker.Worker) {
		worker.Handle(w, worker.Handler[*shippingv1.CreateShipment, *shippingv1.CancelShipment]{
			Do: each(func(c *shippingv1.CreateShipment) worker.Outcome {
				if c.GetShipTo().GetCountry() == countryAway {
					return worker.Refused("destination_not_served", "nobody carries parcels there")
				}
				return holds("label", 1, "label")
			}),
			Undo: undone[*shippingv1.CreateShipment, *shippingv1.CancelShipment],
		})
	}},
}

func holds(kind string, amount int64, unit string) worker.Outcome {
	return worker.Done([]*sagav1.Effect{{Kind: kind, Amount: amount, Unit: unit}}, nil)
}

func each[D worker.Input](
	decide func(D) worker.Outcome,
) func(context.Context, pgx.Tx, []*worker.Command[D]) ([]worker.Outcome, error) {
	return func(_ context.Context, _ pgx.Tx, batch []*worker.Command[D]) ([]worker.Outcome, error) {
		outcomes := make([]worker.Outcome, len(batch))
		for i, c := range batch {
			outcomes[i] = decide(c.Input)
		}
		return outcomes, nil
	}
}

func undone[D, U worker.Input](_ context.Context, _ pgx.Tx, batch []*worker.Undo[D, U]) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	for i := range outcomes {
		outcomes[i] = worker.Undone()
	}
	return outcomes, nil
}

func startThreeStep(
	ctx context.Context, g *ground, o *Options, hear func([]coordinator.End),
) (_ platform, err error) {
	s := &threeStep{ground: g, again: map[string]func(context.Context) error{}, halt: map[string]func(){}}
	if s.definition, err = threeStepDefinition(); err != nil {
		return nil, err
	}
	// The members outlive their start; quiet ends them.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	defer func() {
		if err != nil {
			err = errors.Join(err, s.quiet(ctx))
		}
	}()
	for range o.Coordinators {
		as(ctx, partCoordinator, func(ctx context.Context) { err = s.startCoordinator(ctx, running, hear) })
		if err != nil {
			return nil, err
		}
	}
	for _, p := range participants {
		if err := s.prepare(ctx, p.name); err != nil {
			return nil, err
		}
		s.again[p.name] = func(ctx context.Context) error {
			return s.startWorkers(ctx, running, o.Workers, p.name, p.register)
		}
		if err := s.again[p.name](ctx); err != nil {
			return nil, err
		}
	}
	for _, c := range s.coordinators {
		url := "http://" + c.Addr()
		if err := waitReady(ctx, url, s.failure); err != nil {
			return nil, err
		}
		if o.Workload == IntakeOnly {
			s.shops = append(s.shops, load.NewShop(url, url, maxRequests))
		}
	}
	return s, nil
}

func (s *threeStep) startCoordinator(ctx, running context.Context, hear func([]coordinator.End)) error {
	g := s.ground
	if err := pg.CreateDatabase(ctx, g.pg.URL("postgres"), coordinatorDB); err != nil {
		return err
	}
	config := coordinator.Config{
		Settings: service.Settings{HTTPAddr: "127.0.0.1:0"}, Kafka: g.kafka,
		DatabaseURL: service.Secret(g.pg.URL(coordinatorDB)), MaxWaiting: maxWaiting, AdmitWithin: admitAll,
		Definitions: []*saga.Definition{s.definition},
	}
	log := g.log.With("service", "coordinator")
	if err := coordinator.Migrate(ctx, config, log); err != nil {
		return err
	}
	c, err := coordinator.New(ctx, config, log)
	if err != nil {
		return err
	}
	c.OnEnd(hear)
	s.coordinators = append(s.coordinators, c)
	s.run(running, c.Run)
	return nil
}

// prepare makes the participant's whole database as it is in production; of its tables only the SDK's are written.
func (s *threeStep) prepare(ctx context.Context, name string) error {
	database := "bench_" + name
	if err := pg.CreateDatabase(ctx, s.ground.pg.URL("postgres"), database); err != nil {
		return err
	}
	s.databases = append(s.databases, database)
	_, err := pg.MigrateURL(ctx, s.ground.pg.URL(database), migrations.FS(name))
	return err
}

// startWorkers starts so many workers of a participant. Each has its own connections and books its own metrics, as in a
// process of its own.
func (s *threeStep) startWorkers(
	ctx, running context.Context, n int, name string, register func(*worker.Worker),
) (err error) {
	working, cancel := context.WithCancel(running)
	var ended sync.WaitGroup
	s.halt[name] = func() {
		cancel()
		ended.Wait()
	}
	for range n {
		as(ctx, partWorkers, func(ctx context.Context) {
			member(ctx, name, func() { err = s.startWorker(ctx, working, &ended, name, register) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *threeStep) startWorker(
	ctx, working context.Context, ended *sync.WaitGroup, name string, register func(*worker.Worker),
) error {
	g := s.ground
	pool, err := pg.Open(ctx, pg.Config{URL: g.pg.URL("bench_" + name), AppName: "recourse-" + name})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	w, err := worker.New(worker.Config{Participant: name, Kafka: g.kafka}, pool, g.log.With("service", name), registry)
	if err != nil {
		pool.Close()
		return err
	}
	s.registries = append(s.registries, registry)
	register(w)
	ended.Add(1)
	s.run(working, func(ctx context.Context) error {
		defer ended.Done()
		defer pool.Close()
		return w.Run(ctx)
	})
	return nil
}

// run works until ctx ends, and remembers the error.
func (s *threeStep) run(ctx context.Context, work func(context.Context) error) {
	s.running.Go(func() {
		if err := work(ctx); err != nil {
			s.mu.Lock()
			s.errs = append(s.errs, err)
			s.mu.Unlock()
		}
	})
}

func (s *threeStep) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

func (s *threeStep) groups(o *Options) map[string]int {
	groups := map[string]int{coordinator.Group: o.Coordinators}
	for _, p := range participants {
		groups[p.name] = o.Workers
	}
	return groups
}

func (s *threeStep) place(ctx context.Context, reference, sku string, f fate) (uuid.UUID, load.Outcome, error) {
	n := int(s.placed.Add(1)) % len(s.coordinators)
	if len(s.shops) > 0 {
		return submit(ctx, s.shops[n], reference, sku, f)
	}
	return place(ctx, s.coordinators[n], reference, sku, f)
}

func (s *threeStep) batches(ctx context.Context) (batches, error) {
	b := batches{}
	for _, c := range s.coordinators {
		if err := b.readFrom(ctx, "http://"+c.Addr()); err != nil {
			return nil, err
		}
	}
	for _, registry := range s.registries {
		families, err := registry.Gather()
		if err != nil {
			return nil, fmt.Errorf("reading metrics: %w", err)
		}
		var text bytes.Buffer
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				return nil, fmt.Errorf("reading metrics: %w", err)
			}
		}
		if err := b.read(&text); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (s *threeStep) quiet(context.Context) error {
	s.stopped.Do(func() {
		for _, shop := range s.shops {
			shop.Close()
		}
		s.cancel()
		s.running.Wait()
	})
	return s.failure()
}

func (s *threeStep) stop(ctx context.Context) error { return s.quiet(ctx) }
