package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/plugin/kotel"
	"github.com/twmb/franz-go/plugin/kprom"
	"github.com/twmb/franz-go/plugin/kslog"

	"recourse.dev/pkg/service"
)

// Config says how to reach the broker and how the topics are laid out. It is the same in every process of one system.
type Config struct {
	Brokers []string `env:"KAFKA_BROKERS,required"`
	// TopicPrefix keeps several systems on one broker apart.
	TopicPrefix string `env:"KAFKA_TOPIC_PREFIX" envDefault:"recourse"`
	// Partitions of every topic. A topic's count never changes; see CheckTopics.
	Partitions int32 `env:"KAFKA_PARTITIONS" envDefault:"12"`
	// Replication is the number of copies of each partition that migrate makes: 3 in production, else 1.
	Replication int16 `env:"KAFKA_REPLICATION"`
	// Mode decides whether topics are refused that may lose an acknowledged record with one broker; see CheckTopics.
	Mode service.Mode `env:"RECOURSE_MODE" envDefault:"production"`
	// TLS turns on TLS with the system's certificate authorities, or with TLSCA alone if that is set.
	TLS bool `env:"KAFKA_TLS" envDefault:"false"`
	// TLSCA is a file of certificate authorities in PEM.
	TLSCA string `env:"KAFKA_TLS_CA"`
	// TLSCert and TLSKey are files of this client's own certificate, where the broker asks for one.
	TLSCert string `env:"KAFKA_TLS_CERT"`
	TLSKey  string `env:"KAFKA_TLS_KEY"`
	// SASLMechanism is SCRAM-SHA-512 or SCRAM-SHA-256; it takes effect when SASLUsername is set.
	SASLMechanism string         `env:"KAFKA_SASL_MECHANISM" envDefault:"SCRAM-SHA-512"`
	SASLUsername  string         `env:"KAFKA_SASL_USERNAME"`
	SASLPassword  service.Secret `env:"KAFKA_SASL_PASSWORD"`
	// DeliveryTimeout bounds how long a record waits for its acknowledgement.
	DeliveryTimeout time.Duration `env:"KAFKA_DELIVERY_TIMEOUT" envDefault:"20s"`
	// MaxBufferedBytes bounds the memory of records that wait for their acknowledgement.
	MaxBufferedBytes int `env:"KAFKA_MAX_BUFFERED_BYTES" envDefault:"67108864"`
	// SessionTimeout is how long a member may be silent before its partitions go to others.
	SessionTimeout time.Duration `env:"KAFKA_SESSION_TIMEOUT" envDefault:"30s"`
	// RebalanceTimeout is how long the group waits for a member that has a batch in hand.
	RebalanceTimeout time.Duration `env:"KAFKA_REBALANCE_TIMEOUT" envDefault:"60s"`
}

// minBufferedBytes has room for a poll's commands or replies.
const minBufferedBytes = 1 << 20

// withDefaults fills what a Config made in code left out; from the environment it is complete.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if c.TopicPrefix == "" {
		c.TopicPrefix = "recourse"
	}
	if c.Partitions == 0 {
		c.Partitions = 12
	}
	if c.Replication == 0 {
		c.Replication = 1
		if c.Mode == service.Production {
			c.Replication = 3
		}
	}
	if c.SASLMechanism == "" {
		c.SASLMechanism = "SCRAM-SHA-512"
	}
	if c.MaxBufferedBytes == 0 {
		c.MaxBufferedBytes = 64 << 20
	}
	set(&c.DeliveryTimeout, 20*time.Second)
	set(&c.SessionTimeout, 30*time.Second)
	set(&c.RebalanceTimeout, 60*time.Second)
	return c
}

// Topics gives the names of this configuration's topics.
func (c Config) Topics() Topics { return Topics(c.withDefaults().TopicPrefix) }

// Validate checks what the tags cannot say; the message names the setting.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		fail("KAFKA_BROKERS is required: host:port of one or more brokers, with commas between")
	}
	if err := checkTopicPrefix(c.TopicPrefix); err != nil {
		fail("KAFKA_TOPIC_PREFIX=%q: %w", c.TopicPrefix, err)
	}
	if c.Partitions < 1 || c.Partitions > 1000 {
		fail("KAFKA_PARTITIONS=%d: want 1 to 1000", c.Partitions)
	}
	if c.Replication < 1 {
		fail("KAFKA_REPLICATION=%d: want 1 or more", c.Replication)
	}
	if c.Mode == service.Production && c.Replication > 0 && c.Replication <= minCopies {
		fail("KAFKA_REPLICATION=%d: want %d or more in production, where %d brokers must have a record and one may be away; "+
			"or set RECOURSE_MODE=%s where there is one broker only",
			c.Replication, minCopies+1, minCopies, service.Development)
	}
	if err := c.Mode.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.SASLMechanism != "SCRAM-SHA-512" && c.SASLMechanism != "SCRAM-SHA-256" {
		fail("KAFKA_SASL_MECHANISM=%q: want SCRAM-SHA-512 or SCRAM-SHA-256", c.SASLMechanism)
	}
	if (c.SASLUsername == "") != (c.SASLPassword == "") {
		fail("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD: set both or neither")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fail("KAFKA_TLS_CERT and KAFKA_TLS_KEY: set both or neither")
	}
	if !c.TLS && (c.TLSCA != "" || c.TLSCert != "") {
		fail("KAFKA_TLS_CA and KAFKA_TLS_CERT have no effect without KAFKA_TLS=true")
	}
	if c.MaxBufferedBytes < minBufferedBytes {
		fail("KAFKA_MAX_BUFFERED_BYTES=%d: want %d or more, a batch of records", c.MaxBufferedBytes, minBufferedBytes)
	}
	if c.SessionTimeout < time.Second {
		fail("KAFKA_SESSION_TIMEOUT=%s: want 1s or more, and what the broker's group.min.session.timeout.ms allows",
			c.SessionTimeout)
	}
	if c.DeliveryTimeout < time.Second {
		fail("KAFKA_DELIVERY_TIMEOUT=%s: want 1s or more", c.DeliveryTimeout)
	}
	if c.RebalanceTimeout < c.DeliveryTimeout {
		fail("KAFKA_REBALANCE_TIMEOUT=%s: want at least KAFKA_DELIVERY_TIMEOUT=%s, or a batch cannot wait for its replies",
			c.RebalanceTimeout, c.DeliveryTimeout)
	}
	return errors.Join(errs...)
}

// options are those of every client. The name stands in the broker's logs and in the metrics' label client.
func (c Config) options(name string, log *slog.Logger, reg prometheus.Registerer) ([]kgo.Opt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(name),
		kgo.WithLogger(quiet{kslog.New(log.With("client", name))}),
		// Pushing the client's metrics to the broker is of no use to us and costs a connection.
		kgo.DisableClientMetrics(),
		// How soon a client looks again for what has changed: leaders, and topics that were made anew.
		kgo.MetadataMinAge(time.Second),
		// A topic is deleted by an operator, never by us: keep asking instead of forgetting it.
		kgo.ConsiderMissingTopicDeletedAfter(time.Hour),
	}
	if service.Traced() {
		opts = append(opts, kgo.WithHooks(kotel.NewKotel(kotel.WithTracer(kotel.NewTracer(kotel.ClientID(name)))).Hooks()...))
	}
	if reg != nil {
		opts = append(opts, kgo.WithHooks(kprom.NewMetrics("recourse_kafka",
			kprom.Registerer(reg),
			kprom.WithStaticLabel(prometheus.Labels{"client": name}),
			kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Records, kprom.Batches, kprom.UncompressedBytes),
		)))
	}
	if c.TLS {
		config, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if c.SASLUsername != "" {
		auth := scram.Auth{User: c.SASLUsername, Pass: c.SASLPassword.Reveal()}
		if c.SASLMechanism == "SCRAM-SHA-256" {
			opts = append(opts, kgo.SASL(auth.AsSha256Mechanism()))
		} else {
			opts = append(opts, kgo.SASL(auth.AsSha512Mechanism()))
		}
	}
	return opts, nil
}

func (c Config) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("reading KAFKA_TLS_CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("KAFKA_TLS_CA=%s: no certificate in it", c.TLSCA)
		}
	}
	if c.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("loading KAFKA_TLS_CERT and KAFKA_TLS_KEY: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// quiet keeps the client's running commentary (every metadata update, every heartbeat) for debugging.
type quiet struct{ *kslog.Logger }

// Level is what the client asks before it builds a line.
func (q quiet) Level() kgo.LogLevel {
	if level := q.Logger.Level(); level != kgo.LogLevelInfo {
		return level
	}
	return kgo.LogLevelWarn
}
