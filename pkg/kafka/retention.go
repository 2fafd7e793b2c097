package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

const retentionKey = "retention.ms"

// Retention is the longest time for which the broker keeps records of the topics; 0 is for ever. A size limit may delete
// them sooner and is not looked at.
func Retention(ctx context.Context, config Config, log *slog.Logger, topics ...string) (time.Duration, error) {
	config = config.withDefaults()
	admin, err := newAdmin(config, log)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	described, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return 0, fmt.Errorf("reading the retention of topics: %w", err)
	}
	longest := time.Duration(0)
	for _, topic := range described {
		if topic.Err != nil {
			return 0, fmt.Errorf("reading the retention of topic %s: %w", topic.Name, topic.Err)
		}
		for _, setting := range topic.Configs {
			if setting.Key != retentionKey {
				continue
			}
			ms, err := strconv.ParseInt(setting.MaybeValue(), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the retention of topic %s: %w", topic.Name, err)
			}
			if ms < 0 || ms > int64(maxRetention/time.Millisecond) {
				return 0, nil
			}
			longest = max(longest, time.Duration(ms)*time.Millisecond)
		}
	}
	return longest, nil
}

// maxRetention is what counts as for ever; more would not fit into a duration.
const maxRetention = 100 * 365 * 24 * time.Hour
