package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// minCopies is how many brokers must have a record before it counts as written, so that one of them may be lost.
	minCopies = 2

	minInSync       = "min.insync.replicas"
	uncleanElection = "unclean.leader.election.enable"
)

// checkCopies refuses topics whose acknowledged records are lost with one broker.
func checkCopies(ctx context.Context, config Config, admin *kadm.Client, details kadm.TopicDetails) error {
	topics := details.Names()
	described, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("reading the settings of topics from KAFKA_BROKERS=%s: %w", strings.Join(config.Brokers, ","), err)
	}
	settings := make(map[string]map[string]string, len(described))
	var errs []error
	for _, topic := range described {
		if topic.Err != nil {
			errs = append(errs, fmt.Errorf("reading the settings of topic %s: %w", topic.Name, topic.Err))
			continue
		}
		settings[topic.Name] = make(map[string]string, len(topic.Configs))
		for _, setting := range topic.Configs {
			settings[topic.Name][setting.Key] = setting.MaybeValue()
		}
	}
	for _, topic := range slices.Sorted(slices.Values(topics)) {
		seen, known := settings[topic]
		if !known {
			continue
		}
		for _, partition := range details[topic].Partitions.Sorted() {
			if copies := len(partition.Replicas); copies < minCopies {
				errs = append(errs, fmt.Errorf("topic %s: partition %d has %d copies, want at least %d: its records are lost "+
					"with one broker; add copies by kafka-reassign-partitions.sh, or set RECOURSE_MODE=development",
					topic, partition.Partition, copies, minCopies))
				break
			}
		}
		// Brokers that do not tell have Kafka's own defaults: 1, and false.
		if n, err := strconv.Atoi(seen[minInSync]); err != nil || n < minCopies {
			errs = append(errs, weak(config, topic, minInSync, seen[minInSync], strconv.Itoa(minCopies),
				"a record counts as written when one broker has it, and is lost with that one"))
		}
		if seen[uncleanElection] == "true" {
			errs = append(errs, weak(config, topic, uncleanElection, "true", "false",
				"a broker that lacks records may become leader, and they are lost"))
		}
	}
	return errors.Join(errs...)
}

// weak names the setting, what is wrong with it, and the command that mends it.
func weak(config Config, topic, setting, is, want, why string) error {
	return fmt.Errorf("topic %s has %s=%s: %s; run kafka-configs.sh --bootstrap-server %s --alter --entity-type topics "+
		"--entity-name %s --add-config %s=%s, or set RECOURSE_MODE=development",
		topic, setting, is, why, strings.Join(config.Brokers, ","), topic, setting, want)
}
