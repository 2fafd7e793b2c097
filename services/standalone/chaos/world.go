package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"recourse.dev/pkg/clock"
	"recourse.dev/services/standalone/stack"
)

// timing shortens every wait, so that what takes minutes in production takes seconds: faults come every few of them.
var timing = []string{
	"ANSWER_TIMEOUT=1s", "OUTSIDE_TIMEOUT=2s", "RESEND_MAX=2s", "GIVE_UP=8", "SCAN_INTERVAL=1s", "HOLD_BACK=3s",
	"ORDER_DEADLINE=2m", "PROBE_DELAYS=300ms,700ms,1500ms", "PROBE_EVERY=200ms", "GATEWAY_TIMEOUT=700ms",
	"GATEWAY_VISIBILITY=700ms", "CARRIER_TIMEOUT=700ms", "CARRIER_VISIBILITY=2s", "SMTP_TIMEOUT=2s", "SWEEP_EVERY=500ms",
	"SLOW_DELAY=500ms", "LATE_DELAY=1500ms", "UNKNOWN_FOR=3s", "DRAIN_TIMEOUT=8s", "LEDGER_FSYNC=true",
	"KAFKA_SESSION_TIMEOUT=3s", "KAFKA_DELIVERY_TIMEOUT=6s", "KAFKA_REBALANCE_TIMEOUT=12s", "LOG_LEVEL=info",
	"MAIL_KEEP=2000", "DATABASE_WAIT=15s",
}

const partitions = 6

// services are the members that have a database and a broker; each has a copy, which runs only while a fault wants it.
var services = []string{stack.Coordinator, stack.Inventory, stack.Payment, stack.Shipping, stack.Notification}

var providers = []string{stack.GatewaySim, stack.CarrierSim, stack.MailSink}

// callers are the links from services to the providers, by the provider.
var callers = map[string]string{
	stack.GatewaySim: stack.Payment, stack.CarrierSim: stack.Shipping, stack.MailSink: stack.Notification,
}

// webhookPaths are where the receivers take the providers' webhooks.
var webhookPaths = map[string]string{stack.GatewaySim: "/v1/webhooks/gateway", stack.CarrierSim: "/v1/webhooks/carrier"}

const (
	postgres   = "postgres"
	kafka      = "kafka"
	copySuffix = "-2"
)

// world is everything that runs.
type world struct {
	o        Options
	dir      string
	stack    *stack.Stack
	database *database
	broker   *broker
	// links by "from>to".
	links  map[string]*link
	units  map[string]*unit
	tally  *tally
	client *http.Client
	// open counts the orders that have not ended, as the shops see it.
	open func() int

	stopSupervising context.CancelFunc
	supervisors     sync.WaitGroup
}

// newWorld starts everything; whatever runs is stopped again when something fails.
func newWorld(ctx context.Context, o Options, dir string) (_ *world, err error) {
	w := &world{
		o: o, dir: dir, links: map[string]*link{}, units: map[string]*unit{}, tally: newTally(),
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		open:   func() int { return 0 },
	}
	supervising, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stopSupervising = stop
	defer func() {
		if err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, w.stop(stopping))
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o755); err != nil {
		return nil, fmt.Errorf("making the run's directory: %w", err)
	}
	so, err := w.lay()
	if err != nil {
		return nil, err
	}
	o.Progress("starting PostgreSQL and Kafka")
	both := make(chan error, 1)
	go func() { both <- w.broker.start(ctx) }()
	err = errors.Join(w.database.start(ctx), <-both)
	if err != nil {
		return nil, err
	}
	if err := w.wire(&so); err != nil {
		return nil, err
	}
	so.Progress = o.Progress
	if w.stack, err = stack.Start(ctx, so); err != nil {
		return nil, err
	}
	for _, name := range services {
		if err := w.stack.Copy(name, name+copySuffix); err != nil {
			return nil, err
		}
		w.units[name+copySuffix] = &unit{name: name + copySuffix, stack: w.stack, say: o.Progress, held: true}
	}
	for _, name := range stack.Names {
		w.units[name] = &unit{name: name, stack: w.stack, say: o.Progress, launched: true, served: true}
	}
	for _, u := range w.units {
		w.supervisors.Go(func() { u.supervise(supervising, func() bool { return w.isReady(supervising, u.name) }) })
	}
	w.supervisors.Go(func() { w.database.supervise(supervising) })
	w.supervisors.Go(func() { w.tally.watch(supervising, w) })
	return w, nil
}

// lay gives everybody an address and makes the links.
func (w *world) lay() (so stack.Options, err error) {
	address := func() (addr string) {
		if err == nil {
			addr, err = stack.FreeAddress()
		}
		return addr
	}
	network := newNetwork()
	join := func(from, to, upstream string) string {
		listen := address()
		if err != nil {
			return ""
		}
		var l *link
		if l, err = network.link(from+">"+to, listen, upstream); err == nil {
			w.links[from+">"+to] = l
		}
		return listen
	}
	so = stack.Options{
		DataDir: w.dir, Env: timing, Partitions: partitions,
		Executable: w.o.Binary, OwnProcess: stack.Names, Addresses: map[string]string{}, MemberEnv: map[string][]string{},
		Log: slog.New(slog.DiscardHandler),
	}
	db := address()
	w.broker = &broker{home: w.o.KafkaHome, dir: filepath.Join(w.dir, kafka), admin: address()}
	for _, name := range services {
		join(name, postgres, db)
		listen := address()
		advertised := join(name, kafka, listen)
		w.broker.listeners = append(w.broker.listeners, listener{strings.ToUpper(name), listen, advertised})
		so.MemberEnv[name] = append(so.MemberEnv[name], "KAFKA_BROKERS="+advertised, clock.EnvVar+"="+w.clock(name))
	}
	so.MemberEnv[stack.Coordinator] = append(so.MemberEnv[stack.Coordinator], trialDefinition+"known")
	for provider, setting := range map[string]string{
		stack.GatewaySim: "GATEWAY_URL=http://", stack.CarrierSim: "CARRIER_URL=http://", stack.MailSink: "SMTP_ADDR=",
	} {
		addr := address()
		if provider == stack.MailSink {
			so.Addresses[stack.SMTP] = addr
		} else {
			so.Addresses[provider] = addr
		}
		caller := callers[provider]
		if provider != stack.MailSink {
			// The providers' webhooks come back another way.
			so.Addresses[caller] = address()
			so.MemberEnv[provider] = append(so.MemberEnv[provider],
				"WEBHOOK_URL=http://"+join(provider, caller, so.Addresses[caller])+webhookPaths[provider], "WEBHOOK_DELAY=100ms")
		}
		so.MemberEnv[caller] = append(so.MemberEnv[caller], setting+join(caller, provider, addr))
	}
	controller := address()
	if err != nil {
		return so, err
	}
	if w.database, err = newDatabase(w.dir, db, so.Log, w.o.Progress); err != nil {
		return so, err
	}
	so.Brokers = []string{w.broker.admin}
	return so, w.broker.configure(controller)
}

// clock is the file with the offset of a service's wall clock.
func (w *world) clock(service string) string { return filepath.Join(w.dir, "clock-"+service) }

// wire tells the members of their databases, which have a password by now.
func (w *world) wire(so *stack.Options) error {
	so.DatabaseURL = w.database.url("postgres")
	for _, name := range services {
		url, err := w.database.through(w.links[name+">"+postgres].addr, "recourse_"+name)
		if err != nil {
			return err
		}
		so.MemberEnv[name] = append(so.MemberEnv[name], "DATABASE_URL="+url)
	}
	return nil
}

// healAll undoes what a fault may have left over: the run ends with a world in which everything works.
func (w *world) healAll(ctx context.Context) error {
	var errs []error
	for _, l := range w.links {
		errs = append(errs, l.heal(ctx))
	}
	for _, name := range append(append([]string{}, services...), providers...) {
		w.units[name].release()
	}
	w.database.release()
	return errors.Join(errs...)
}

// ready says who is not, of those that should run.
func (w *world) ready(ctx context.Context) error {
	for _, name := range stack.Names {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		status, text, err := w.get(ctx, w.stack.URL(name)+"/readyz?verbose")
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if status != http.StatusOK {
			return fmt.Errorf("%s is not ready: %s", name, text)
		}
	}
	return nil
}

// isReady asks once.
func (w *world) isReady(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, _, err := w.get(ctx, w.stack.URL(name)+"/readyz")
	return err == nil && status == http.StatusOK
}

func (w *world) stop(ctx context.Context) error {
	w.stopSupervising()
	w.supervisors.Wait()
	var errs []error
	for _, u := range w.units {
		_ = u.signal(thaw) // a stopped one would not hear of its end
	}
	if w.stack != nil {
		errs = append(errs, w.stack.Stop(ctx))
	}
	if w.broker != nil && w.broker.cmd != nil {
		_ = w.broker.signal(ctx, thaw)
		errs = append(errs, w.broker.signal(ctx, syscall.SIGKILL))
	}
	if w.database != nil {
		errs = append(errs, w.database.stop(ctx))
	}
	for _, l := range w.links {
		l.proxy.Stop()
	}
	w.client.CloseIdleConnections()
	return errors.Join(errs...)
}
