package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/service"
)

// Topics gives the topic names under a prefix.
type Topics string

// CommandTopic carries the coordinator's commands to a participant.
func (t Topics) CommandTopic(participant string) string {
	return string(t) + "." + participant + ".commands.v1"
}

// ReplyTopic carries a participant's replies to the coordinator. Only that participant writes to it, so that a reply
// cannot be forged by another one.
func (t Topics) ReplyTopic(participant string) string {
	return string(t) + "." + participant + ".replies.v1"
}

// OrderEventsTopic carries what happens to orders; it is the public contract.
func (t Topics) OrderEventsTopic() string { return string(t) + ".orders.events.v1" }

// ServiceEventsTopic carries what happens in a service, for example changes of stock.
func (t Topics) ServiceEventsTopic(service string) string {
	return string(t) + "." + service + ".events.v1"
}

// Group is the consumer group of a service.
func (t Topics) Group(service string) string { return string(t) + "." + service }

var topicPrefixPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

func checkTopicPrefix(prefix string) error {
	if !topicPrefixPattern.MatchString(prefix) {
		return errors.New("want 1 to 64 letters, digits, '-' or '_', the first one a letter or digit")
	}
	return nil
}

// EnsureTopics makes the topics that are missing and then checks them all. Running it again changes nothing.
func EnsureTopics(ctx context.Context, config Config, log *slog.Logger, topics ...string) error {
	config = config.withDefaults()
	admin, err := newAdmin(config, log)
	if err != nil {
		return err
	}
	defer admin.Close()
	settings := map[string]*string{
		// The broker's clock, because a producer whose clock is ahead would be refused for ever.
		"message.timestamp.type": kadm.StringPtr("LogAppendTime"),
		"cleanup.policy":         kadm.StringPtr("delete"),
		// One copy may be away without stopping anything; an acknowledged record has at least two where there are three.
		"min.insync.replicas": kadm.StringPtr(strconv.Itoa(max(1, int(config.Replication)-1))),
	}
	created, err := admin.CreateTopics(ctx, config.Partitions, config.Replication, settings, topics...)
	if err != nil {
		return fmt.Errorf("creating topics on %s: %w", strings.Join(config.Brokers, ","), err)
	}
	var errs []error
	for _, topic := range created.Sorted() {
		switch {
		case topic.Err == nil:
			log.InfoContext(ctx, "topic created", "topic", topic.Topic, "partitions", config.Partitions)
		case errors.Is(topic.Err, kerr.TopicAlreadyExists):
		case errors.Is(topic.Err, kerr.InvalidReplicationFactor):
			errs = append(errs, fmt.Errorf("creating topic %s: KAFKA_REPLICATION=%d is more than the cluster has brokers; "+
				"add brokers, or set RECOURSE_MODE=%s for one that may lose everything: %w",
				topic.Topic, config.Replication, service.Development, topic.Err))
		default:
			errs = append(errs, fmt.Errorf("creating topic %s: %w %s", topic.Topic, topic.Err, topic.ErrMessage))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	// Creation is acknowledged before every broker has heard of it; what comes next may ask any of them.
	return waitForTopics(ctx, config, admin, topics)
}

// errNotThere marks what a moment's patience may mend after a creation.
var errNotThere = errors.New("is not there")

const creationTimeout = 15 * time.Second

func waitForTopics(ctx context.Context, config Config, admin *kadm.Client, topics []string) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(creationTimeout); ; {
		err := checkTopics(ctx, config, admin, topics)
		if !errors.Is(err, errNotThere) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// CheckTopics refuses topics that are missing or that have another number of partitions than configured: with another
// count the same key has another partition number, and two owners would work on one order at a time. In production it
// also refuses topics that may lose an acknowledged record with one broker.
func CheckTopics(ctx context.Context, config Config, log *slog.Logger, topics ...string) error {
	config = config.withDefaults()
	admin, err := newAdmin(config, log)
	if err != nil {
		return err
	}
	defer admin.Close()
	return checkTopics(ctx, config, admin, topics)
}

func checkTopics(ctx context.Context, config Config, admin *kadm.Client, topics []string) error {
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("reading topics from KAFKA_BROKERS=%s: %w", strings.Join(config.Brokers, ","), err)
	}
	var errs []error
	for _, topic := range slices.Sorted(slices.Values(topics)) {
		detail, known := details[topic]
		seen := len(detail.Partitions)
		switch {
		case !known || errors.Is(detail.Err, kerr.UnknownTopicOrPartition):
			errs = append(errs, fmt.Errorf("topic %s %w: run `migrate`, or set KAFKA_TOPIC_PREFIX (now %q) "+
				"and KAFKA_BROKERS to where it is", topic, errNotThere, config.TopicPrefix))
		case detail.Err != nil:
			errs = append(errs, fmt.Errorf("topic %s: %w", topic, detail.Err))
		case seen != int(config.Partitions):
			errs = append(errs, fmt.Errorf("topic %s has %d partitions, KAFKA_PARTITIONS=%d: a topic's partition count "+
				"cannot change; set KAFKA_PARTITIONS=%d, or finish all orders, choose a new KAFKA_TOPIC_PREFIX (now %q) "+
				"and run `migrate`", topic, seen, config.Partitions, seen, config.TopicPrefix))
		}
	}
	if len(errs) == 0 && config.Mode == service.Production {
		return checkCopies(ctx, config, admin, details)
	}
	return errors.Join(errs...)
}

func newAdmin(config Config, log *slog.Logger) (*kadm.Client, error) {
	opts, err := config.options("recourse-admin", log, nil)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return kadm.NewClient(client), nil
}
