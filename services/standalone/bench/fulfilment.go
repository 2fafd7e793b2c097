package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"recourse.dev/coordinator"
	"recourse.dev/coordinator/order"
	"recourse.dev/services/audit"
	"recourse.dev/services/standalone/load"
	"recourse.dev/services/standalone/stack"
)

// whole is the whole platform in this process: every service as its own binary runs it, and the simulated providers.
type whole struct {
	stack       *stack.Stack
	coordinator atomic.Pointer[coordinator.Service]
	shop        *load.Shop
	// overHTTP says that orders come over the REST API, and that the providers are reached over HTTP, too.
	overHTTP bool
	near     *near
	copies   []string
	// stock is how many units of hotSKU there are.
	stock int64
}

const hotSKU = "SKU-HOT"

// partsOf says which part of cpu_ms_saga a member's time belongs to.
var partsOf = map[string]string{
	stack.Coordinator: partCoordinator,
	stack.Inventory:   partWorkers, stack.Payment: partWorkers,
	stack.Shipping: partWorkers, stack.Notification: partWorkers,
	stack.GatewaySim: partProviders, stack.CarrierSim: partProviders, stack.MailSink: partProviders,
	stack.Audit: partGenerator,
}

var (
	workers = []string{stack.Inventory, stack.Payment, stack.Shipping, stack.Notification}
	// withDatabase are the members that connect to a database, in the order in which they start.
	withDatabase = append(slices.Clone(workers), stack.Coordinator)
)

// connections is how many the shop keeps to the coordinator, less than what it accepts.
const connections = 256

func startWhole(ctx context.Context, g *ground, o *Options, hear func([]coordinator.End)) (_ platform, err error) {
	w := &whole{overHTTP: o.Workload == HTTP, stock: shelf}
	if o.Stock > 0 {
		w.stock = int64(o.Stock)
	}
	env := map[string][]string{stack.Coordinator: {fmt.Sprintf("MAX_WAITING=%d", maxWaiting)}}
	if w.overHTTP {
		// So many orders wait here that admission would refuse the rest; that is measured by `recourse overload`.
		env[stack.Coordinator] = []string{"ADMIT_WITHIN=" + admitAll.String()}
	} else {
		w.near = newNear(ctx)
		maps.Copy(env, nearEnv)
	}
	w.stack, err = stack.Start(ctx, stack.Options{
		DataDir: g.dir, DatabaseURL: g.pg.URL("postgres"), Brokers: g.kafka.Brokers, TopicPrefix: g.kafka.TopicPrefix,
		Partitions: partitions, Log: g.log, MemberEnv: env,
		Around: func(name string, run func()) {
			as(ctx, partsOf[name], func(ctx context.Context) { member(ctx, name, run) })
		},
		Made: func(service any) {
			if c, ok := service.(*coordinator.Service); ok {
				c.OnEnd(hear)
				w.coordinator.Store(c)
			}
			w.near.connect(service)
		},
	})
	if err != nil {
		return nil, err
	}
	w.shop = load.NewShop(w.stack.URL(stack.Coordinator), w.stack.URL(stack.Inventory), connections)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop(context.WithoutCancel(ctx)))
		}
	}()
	for n := 2; n <= o.Workers; n++ {
		name := fmt.Sprintf("%s-%d", stack.Inventory, n)
		if err := w.stack.Copy(stack.Inventory, name); err != nil {
			return nil, err
		}
		if err := w.stack.Restart(ctx, name); err != nil {
			return nil, err
		}
		w.copies = append(w.copies, name)
	}
	return w, w.fillShelves(ctx)
}

// shelf is how many units of a SKU there are, if not told otherwise.
const shelf = 1_000_000

func (w *whole) fillShelves(ctx context.Context) error {
	var skus []string
	for n := range goods {
		skus = append(skus, spread(n))
	}
	for n := range maxSagas / goods / shelf {
		if err := w.shop.Receive(ctx, fmt.Sprintf("spread-%d", n), shelf, skus...); err != nil {
			return err
		}
		if w.stock < shelf {
			break
		}
	}
	return w.shop.Receive(ctx, "hot", w.stock, hotSKU)
}

func (w *whole) groups(o *Options) map[string]int {
	return map[string]int{
		stack.Coordinator: 1, stack.Inventory: o.Workers, stack.Payment: 1, stack.Shipping: 1, stack.Notification: 1,
	}
}

func (w *whole) place(ctx context.Context, reference, sku string, f fate) (uuid.UUID, load.Outcome, error) {
	if !w.overHTTP {
		return place(ctx, w.coordinator.Load(), reference, sku, f)
	}
	return submit(ctx, w.shop, reference, sku, f)
}

func (w *whole) batches(ctx context.Context) (batches, error) {
	b := batches{}
	for _, name := range slices.Concat(withDatabase, w.copies) {
		if err := b.readFrom(ctx, w.stack.URL(name)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (w *whole) quiet(ctx context.Context) error {
	w.shop.Close()
	for _, name := range slices.Backward(slices.Concat(withDatabase, w.copies)) {
		if err := w.stack.Halt(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// haltWorkers stops the participants; their commands wait.
func (w *whole) haltWorkers(ctx context.Context) error {
	for _, name := range slices.Concat(workers, w.copies) {
		if err := w.stack.Halt(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *whole) startWorkers(ctx context.Context) error {
	for _, name := range slices.Concat(workers, w.copies) {
		if err := w.stack.Restart(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// check starts what quiet stopped again and compares all books, those of the providers included.
func (w *whole) check(ctx context.Context, g *ground, want expected) (wrong []string, err error) {
	for _, name := range withDatabase {
		if err := w.stack.Restart(ctx, name); err != nil {
			return nil, err
		}
	}
	definition, err := order.Fulfilment(order.DefaultTiming)
	if err != nil {
		return nil, err
	}
	wrong, err = checkSagas(ctx, g, "recourse_coordinator", definition, want)
	if err != nil {
		return nil, err
	}
	books, err := audit.Conservation(ctx, w.stack.System())
	if err != nil {
		return nil, err
	}
	for _, f := range books.Findings() {
		wrong = append(wrong, f.Order+" "+f.What)
	}
	if int64(books.Orders) != want.orders() || books.Open != 0 {
		wrong = append(wrong, fmt.Sprintf("%d orders by the audit, %d of them open, where %d were placed",
			books.Orders, books.Open, want.orders()))
	}
	for _, sku := range books.Skus {
		if sku.Sku == hotSKU && sku.Shipped > w.stock {
			wrong = append(wrong, fmt.Sprintf("%d units of %s were shipped, and there were %d", sku.Shipped, hotSKU, w.stock))
		}
	}
	return wrong, nil
}

func (w *whole) failure() error { return w.stack.Failed() }

func (w *whole) stop(ctx context.Context) error {
	w.shop.Close()
	http.DefaultClient.CloseIdleConnections()
	return w.stack.Stop(ctx)
}
