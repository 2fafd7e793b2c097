// Package embedded runs a Kafka broker inside the process, for development and tests.
//
// It is franz-go's kfake: the real wire protocol on a loopback port, one broker, one copy of everything. With a data
// directory, topics, records and committed offsets survive a restart of the process. Of each partition it keeps what
// a group has still to read and the newest records, see Options.Keep. It is no broker for production; nothing else in this
// repository knows whether it talks to this one or to Apache Kafka.
package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say how the broker runs.
type Options struct {
	// DataDir keeps everything on disk; empty: in memory, gone with the process.
	DataDir string
	// Addr is where it listens; empty: a free port on loopback.
	Addr string
	// Partitions of topics that are created without a count.
	Partitions int
	// Keep is how many of its newest records a partition keeps at least; default 200. Older ones are forgotten when every
	// group that reads the topic has committed them, so that a long run does not need ever more memory.
	Keep int
	Log  *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	cluster   *kfake.Cluster
	forgetter *forgetter
	addrs     []string
	close     sync.Once
}

// minSessionTimeout is the least KAFKA_SESSION_TIMEOUT that this broker allows.
const minSessionTimeout = time.Second

// Start returns when the broker accepts connections.
func Start(options Options) (*Broker, error) {
	if options.Addr == "" {
		options.Addr = "127.0.0.1:0"
	}
	if options.Partitions == 0 {
		options.Partitions = 12
	}
	if options.Keep == 0 {
		options.Keep = 200
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	host, port, err := net.SplitHostPort(options.Addr)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker at %q: %w", options.Addr, err)
	}
	if host == "" {
		return nil, fmt.Errorf("starting the embedded broker at %q: the address must name a host, as it has no access control", options.Addr)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.DefaultNumPartitions(options.Partitions),
		// The broker's default of 6s would make every test of a killed member wait that long for its partitions.
		kfake.GroupMinSessionTimeout(minSessionTimeout),
		brokerConfigs(options),
		kfake.WithLogger(logger{options.Log}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(context.Background(), network, net.JoinHostPort(host, port))
		}),
	}
	if options.DataDir != "" {
		opts = append(opts, kfake.DataDir(options.DataDir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker at %s: %w", options.Addr, err)
	}
	refuseStale(cluster)
	forgetter, err := startForgetting(cluster, options.Keep, options.Log)
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return &Broker{cluster: cluster, forgetter: forgetter, addrs: cluster.ListenAddrs()}, nil
}

// Addrs are the addresses for kafka.Config.Brokers.
func (b *Broker) Addrs() []string { return b.addrs }

// Cluster gives tests the switches for faults.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close writes what is left to disk and stops the broker.
func (b *Broker) Close() {
	b.close.Do(func() {
		b.forgetter.stop()
		b.cluster.Close()
	})
}

// logger passes on what went wrong; the rest is every request.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded broker", "message", fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("embedded broker", "message", fmt.Sprintf(format, args...))
	default:
	}
}
