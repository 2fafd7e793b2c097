package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/kafka/embedded"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/services/audit"
)

// Options of a stack. The zero value plus a DataDir is what `recourse dev` runs.
type Options struct {
	// DataDir keeps databases, topics and ledgers. With Ephemeral it is removed at the end.
	DataDir   string
	Ephemeral bool
	// DatabaseURL is an administrator's URL of a server that somebody else runs; empty finds or starts one.
	DatabaseURL string
	// PostgresVersion is "" for any, or pgserver.Newest.
	PostgresVersion string
	// Brokers of a Kafka that somebody else runs; empty starts one in this process.
	Brokers []string
	// TopicPrefix and DatabasePrefix keep several stacks on one server apart; default recourse.
	TopicPrefix, DatabasePrefix string
	// Partitions of every topic; 0 takes the default.
	Partitions int
	// DefaultPorts prefers the documented ports over free ones.
	DefaultPorts bool
	// Addresses fixes the address of a member, or of SMTP, by name.
	Addresses map[string]string
	// OwnProcess lists the members that run as processes of their own, by Executable; these can be killed.
	OwnProcess []string
	// Executable understands "serve NAME" like cmd recourse; empty is this process's own.
	Executable string
	// Binaries is a directory with a binary of each service that runs as a process of its own, as a deployment has them;
	// they migrate and serve instead of Executable. See Use.
	Binaries string
	// Env is added to every member's environment, MemberEnv to one's.
	Env       []string
	MemberEnv map[string][]string
	// Around runs all that a member does in this process, so that a profile can tell the members apart.
	Around func(name string, run func())
	// Made is told of each service in this process before it runs.
	Made func(service any)
	// Progress is told what is being started.
	Progress func(format string, args ...any)
	Log      *slog.Logger
}

// Stack is a running platform.
type Stack struct {
	o       Options
	pg      *pgserver.Server
	broker  *embedded.Broker
	brokers []string
	members map[string]*member
	smtp    string
	// Source says where PostgreSQL comes from, Broker which Kafka it is.
	Source, Broker string
}

// Start brings everything up and returns when every member is ready. Whatever
// was started is stopped again when something fails.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	if o.Around == nil {
		o.Around = func(_ string, run func()) { run() }
	}
	if o.TopicPrefix == "" {
		o.TopicPrefix = "recourse"
	}
	if o.DatabasePrefix == "" {
		o.DatabasePrefix = "recourse"
	}
	if o.Partitions == 0 {
		o.Partitions = 12
	}
	s := &Stack{o: o, members: map[string]*member{}}
	defer func() {
		if err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, s.Stop(stopping))
		}
	}()
	if err := os.MkdirAll(filepath.Join(o.DataDir, "log"), 0o755); err != nil { // the database's user passes through
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := s.startServers(ctx); err != nil {
		return nil, err
	}
	if err := s.plan(); err != nil {
		return nil, err
	}
	o.Progress("bringing databases and topics up to date")
	if err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	for _, p := range programs {
		o.Progress("starting %s", p.name)
		if err := s.members[p.name].start(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Stack) startServers(ctx context.Context) error {
	s.o.Progress("starting PostgreSQL")
	dir, err := pgserver.DefaultDataDir(s.o.DataDir)
	if err != nil {
		return err
	}
	s.pg, err = pgserver.Start(ctx, pgserver.Options{
		URL: s.o.DatabaseURL, DataDir: dir, Version: s.o.PostgresVersion, Log: s.o.Log,
	})
	if err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	s.Source = s.pg.Source()
	if s.brokers = s.o.Brokers; len(s.brokers) > 0 {
		s.Broker = "Kafka at " + strings.Join(s.brokers, ",")
		return nil
	}
	s.o.Progress("starting Kafka")
	dir = filepath.Join(s.o.DataDir, "kafka")
	if s.o.Ephemeral {
		dir = ""
	}
	s.broker, err = embedded.Start(embedded.Options{DataDir: dir, Partitions: s.o.Partitions, Log: s.o.Log})
	if err != nil {
		return fmt.Errorf("starting the embedded Kafka: %w", err)
	}
	s.brokers = s.broker.Addrs()
	s.Broker = "embedded Kafka (kfake) at " + strings.Join(s.brokers, ",")
	return nil
}

// The secrets of the simulators' webhooks. They keep nobody out: both ends run on this machine, on loopback.
const (
	gatewaySecret = "whsec_Z2F0ZXdheXNpbSBzaWducyB0byBwYXltZW50"
	carrierSecret = "whsec_Y2FycmllcnNpbSBzaWducyB0byBzaGlwcGluZw=="
)

// plan gives every member its address and its environment.
func (s *Stack) plan() error {
	ports := map[string]string{}
	for _, p := range programs {
		addr, err := s.address(p.name, p.port)
		if err != nil {
			return err
		}
		ports[p.name] = addr
	}
	smtp, err := s.address(SMTP, 8025)
	if err != nil {
		return err
	}
	s.smtp = smtp
	for _, p := range programs {
		env := []string{
			"HTTP_ADDR=" + ports[p.name],
			"LOG_FORMAT=text",
			"KAFKA_BROKERS=" + strings.Join(s.brokers, ","),
			"RECOURSE_MODE=development",
			"KAFKA_TOPIC_PREFIX=" + s.o.TopicPrefix,
			fmt.Sprintf("KAFKA_PARTITIONS=%d", s.o.Partitions),
			"GATEWAY_URL=http://" + ports[GatewaySim],
			"CARRIER_URL=http://" + ports[CarrierSim],
			"COORDINATOR_URL=http://" + ports[Coordinator],
			"INVENTORY_URL=http://" + ports[Inventory],
			"PAYMENT_URL=http://" + ports[Payment],
			"SHIPPING_URL=http://" + ports[Shipping],
			"SMTP_ADDR=" + smtp,
		}
		switch p.name {
		case GatewaySim:
			env = append(env, "LEDGER_PATH="+filepath.Join(s.o.DataDir, p.name+".jsonl"),
				"WEBHOOK_URL=http://"+ports[Payment]+"/v1/webhooks/gateway", "WEBHOOK_SECRET="+gatewaySecret)
		case CarrierSim:
			env = append(env, "LEDGER_PATH="+filepath.Join(s.o.DataDir, p.name+".jsonl"),
				"WEBHOOK_URL=http://"+ports[Shipping]+"/v1/webhooks/carrier", "WEBHOOK_SECRET="+carrierSecret)
		case Payment:
			env = append(env, "WEBHOOK_SECRET="+gatewaySecret)
		case Shipping:
			env = append(env, "WEBHOOK_SECRET="+carrierSecret)
		case MailSink:
			env = append(env, "MAIL_DIR="+filepath.Join(s.o.DataDir, "mail"))
		}
		if p.database {
			env = append(env, "DATABASE_URL="+s.pg.URL(s.database(p.name)))
		}
		env = append(env, s.o.Env...)
		env = append(env, s.o.MemberEnv[p.name]...)
		s.members[p.name] = &member{
			program: p, addr: ports[p.name], env: env, logPath: filepath.Join(s.o.DataDir, "log", p.name+".log"),
			own: slices.Contains(s.o.OwnProcess, p.name), executable: s.o.Executable, around: s.o.Around, made: s.o.Made,
		}
		if s.members[p.name].own {
			s.members[p.name].binaries = s.o.Binaries
		}
	}
	return nil
}

func (s *Stack) address(name string, preferred int) (string, error) {
	if addr := s.o.Addresses[name]; addr != "" {
		return addr, nil
	}
	if s.o.DefaultPorts {
		if addr := fmt.Sprintf("127.0.0.1:%d", preferred); free(addr) {
			return addr, nil
		}
	}
	return FreeAddress()
}

func (s *Stack) database(name string) string { return s.o.DatabasePrefix + "_" + name }

// Migrate runs each member's own migrate command, as Start has done already; members do not share anything there.
func (s *Stack) Migrate(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(programs))
	for i, p := range programs {
		if !p.database {
			continue
		}
		if err := pg.CreateDatabase(ctx, s.pg.URL("postgres"), s.database(p.name)); err != nil {
			return fmt.Errorf("creating the database of %s: %w", p.name, err)
		}
		wg.Go(func() { errs[i] = s.members[p.name].migrate(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// URL is the base URL of a member's API.
func (s *Stack) URL(name string) string { return "http://" + s.members[name].addr }

// System is where an audit finds the members.
func (s *Stack) System() audit.System {
	return audit.System{
		Coordinator: s.URL(Coordinator), Inventory: s.URL(Inventory), Payment: s.URL(Payment), Shipping: s.URL(Shipping),
		Gateway: s.URL(GatewaySim), Carrier: s.URL(CarrierSim),
	}
}

// DatabaseURL is a URL of a member's database.
func (s *Stack) DatabaseURL(name string) string { return s.pg.URL(s.database(name)) }

// Kafka is how to reach the broker that the members use.
func (s *Stack) Kafka() kafka.Config {
	return kafka.Config{Brokers: s.brokers, TopicPrefix: s.o.TopicPrefix, Partitions: int32(s.o.Partitions)}
}

// Kill ends a member that is a process of its own with SIGKILL: no line of it runs any more.
func (s *Stack) Kill(name string) error { return s.members[name].kill() }

// Halt stops a member in order.
func (s *Stack) Halt(ctx context.Context, name string) error { return s.members[name].stop(ctx) }

// Restart starts a member that was killed or halted, at the same address; env is added to its environment.
func (s *Stack) Restart(ctx context.Context, name string, env ...string) error {
	return s.members[name].start(ctx, env...)
}

// Copy plans another process of a member, at an address of its own and with the same environment otherwise. It is
// started by Launch, stopped with the rest, and named like a member.
func (s *Stack) Copy(name, as string) error {
	addr, err := FreeAddress()
	if err != nil {
		return err
	}
	m := s.members[name]
	s.members[as] = &member{
		program: m.program, addr: addr, env: append(slices.Clone(m.env), "HTTP_ADDR="+addr),
		logPath: filepath.Join(s.o.DataDir, "log", as+".log"), own: m.own, executable: m.executable,
		binaries: m.binaries, around: m.around, made: m.made,
	}
	return nil
}

// Use takes the member's binary from another directory from its next start or migration on.
func (s *Stack) Use(name, binaries string) { s.members[name].binaries = binaries }

// Launch is Restart without the wait for readiness.
func (s *Stack) Launch(ctx context.Context, name string, env ...string) error {
	return s.members[name].launch(ctx, env...)
}

// Signal sends a signal to a member that is a process of its own.
func (s *Stack) Signal(name string, signal os.Signal) error { return s.members[name].signal(signal) }

// Tail is the end of a member's log.
func (s *Stack) Tail(name string) string { return s.members[name].tail() }

// PID is the process id of a member that is a process of its own; 0 if it is not or does not run.
func (s *Stack) PID(name string) int {
	if m := s.members[name]; m.process != nil {
		return m.process.Pid
	}
	return 0
}

// Exited is closed when the member's current run has ended.
func (s *Stack) Exited(name string) <-chan struct{} { return s.members[name].done }

// ExitStatus is how the member's last run ended: 0 when it stopped in order, -1 when it was killed by a signal.
func (s *Stack) ExitStatus(name string) int { return int(s.members[name].status.Load()) }

// Failed reports a member that ended without having been asked to.
func (s *Stack) Failed() error {
	for _, name := range Names {
		if m := s.members[name]; m != nil && m.died() {
			return fmt.Errorf("%s ended by itself:\n%s", name, m.tail())
		}
	}
	return nil
}

// Stop ends the members in reverse order, then the servers.
func (s *Stack) Stop(ctx context.Context) error {
	var errs []error
	for name, m := range s.members {
		if !slices.Contains(Names, name) { // a copy
			errs = append(errs, m.stop(ctx))
		}
	}
	for _, name := range slices.Backward(Names) {
		if m := s.members[name]; m != nil {
			errs = append(errs, m.stop(ctx))
		}
	}
	if s.broker != nil {
		s.broker.Close()
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Stop(ctx))
	}
	if s.o.Ephemeral {
		errs = append(errs, os.RemoveAll(s.o.DataDir))
		if s.pg != nil && s.pg.DataDir() != "" {
			errs = append(errs, os.RemoveAll(s.pg.DataDir()))
		}
	}
	return errors.Join(errs...)
}
