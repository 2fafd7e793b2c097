package chaos

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaHome checks that a directory holds a Kafka and that there is a Java to run it.
func KafkaHome(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no Kafka: unpack Apache Kafka (kafka.apache.org/downloads) and give its directory with " +
			"--kafka-home or in KAFKA_HOME")
	}
	if jars, err := filepath.Glob(filepath.Join(dir, "libs", "kafka_*.jar")); err != nil || len(jars) == 0 {
		return "", fmt.Errorf("--kafka-home %s: no Kafka there: want a directory with libs/kafka_*.jar and the other jars "+
			"of Apache Kafka's download", dir)
	}
	if _, err := java(); err != nil {
		return "", err
	}
	return dir, nil
}

func java() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path := filepath.Join(home, "bin", "java")
		if exec.Command(path, "-version").Run() == nil { //nolint:gosec,noctx // the user's Java
			return path, nil
		}
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("no Java: Kafka needs Java 17 or later on the PATH or in JAVA_HOME")
	}
	return path, nil
}

// broker is an Apache Kafka of one node. Every client has a listener of its own, whose advertised address is that of
// the client's proxy, so that all it ever says goes through there.
type broker struct {
	home, dir string
	// admin is the harness's own way in, which no fault touches.
	admin string
	// listeners are the other ones: where the broker listens, and where it says that it does.
	listeners []listener

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

type listener struct{ name, listen, advertised string }

func (b *broker) configure(controller string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("making Kafka's directory: %w", err)
	}
	all := append([]listener{{"ADMIN", b.admin, b.admin}}, b.listeners...)
	var listen, advertise, protocols []string
	for _, l := range all {
		listen = append(listen, l.name+"://"+l.listen)
		advertise = append(advertise, l.name+"://"+l.advertised)
		protocols = append(protocols, l.name+":PLAINTEXT")
	}
	lines := []string{
		"node.id=1", "process.roles=broker,controller", "controller.quorum.voters=1@" + controller,
		"controller.listener.names=CONTROLLER", "inter.broker.listener.name=ADMIN",
		"listeners=" + strings.Join(append(listen, "CONTROLLER://"+controller), ","),
		"advertised.listeners=" + strings.Join(advertise, ","),
		"listener.security.protocol.map=" + strings.Join(append(protocols, "CONTROLLER:PLAINTEXT"), ","),
		"log.dirs=" + b.logDir(),
		"auto.create.topics.enable=false", "num.partitions=1",
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000",
		// Threads are per listener; there are many, and two cores.
		"num.network.threads=1", "num.io.threads=4",
	}
	return os.WriteFile(b.properties(), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (b *broker) properties() string { return filepath.Join(b.dir, "server.properties") }
func (b *broker) logDir() string     { return filepath.Join(b.dir, "data") }

func (b *broker) command(class string, args ...string) (*exec.Cmd, error) {
	path, err := java()
	if err != nil {
		return nil, err
	}
	// A broker that has just been killed has to be back soon: little compilation, a small heap.
	all := append([]string{
		"-Xms192m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(b.home, "libs", "*"), class,
	}, args...)
	return exec.Command(path, all...), nil //nolint:gosec,noctx // it outlives its start; stop and kill end it
}

// start formats an empty log directory, starts the broker and waits until it answers.
func (b *broker) start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Stat(filepath.Join(b.logDir(), "meta.properties")); err != nil {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails
		id[0] &= 0x7f        // no id may begin with a dash
		format, err := b.command("kafka.tools.StorageTool", "format",
			"-t", base64.RawURLEncoding.EncodeToString(id), "-c", b.properties())
		if err != nil {
			return err
		}
		if out, err := format.CombinedOutput(); err != nil {
			return fmt.Errorf("formatting Kafka's log directory: %w\n%s", err, out)
		}
	}
	log, err := os.OpenFile(filepath.Join(b.dir, "broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening Kafka's log: %w", err)
	}
	cmd, err := b.command("kafka.Kafka", b.properties())
	if err != nil {
		return errors.Join(err, log.Close())
	}
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	exited := make(chan struct{})
	started := make(chan error, 1)
	go func() {
		// See dieWithParent: the parent that it dies with is this thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close() //nolint:errcheck // a log
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended does not matter
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	b.cmd, b.exited = cmd, exited
	return b.await(ctx)
}

// await returns when the broker answers.
func (b *broker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	client, err := b.client()
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		ask, stop := context.WithTimeout(ctx, 2*time.Second)
		err := client.Ping(ask)
		stop()
		if err == nil {
			return nil
		}
		select {
		case <-b.exited:
			return fmt.Errorf("the Kafka broker ended while starting; see %s", filepath.Join(b.dir, "broker.log"))
		case <-ctx.Done():
			return fmt.Errorf("waiting for Kafka: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *broker) client(opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.admin), kgo.ClientID("chaos"), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return client, nil
}

// signal sends a signal and, for one that ends the process, waits for the end.
func (b *broker) signal(ctx context.Context, sig syscall.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return nil
	}
	if err := b.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to Kafka: %w", sig, err)
	}
	if !slices.Contains([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}, sig) {
		return nil
	}
	select {
	case <-b.exited:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(15 * time.Second):
		_ = b.cmd.Process.Kill()
		<-b.exited
	}
	b.cmd = nil
	return nil
}

// wipe deletes the log of a broker that does not run.
func (b *broker) wipe() error {
	if err := os.RemoveAll(b.logDir()); err != nil {
		return fmt.Errorf("wiping Kafka's log: %w", err)
	}
	return nil
}
