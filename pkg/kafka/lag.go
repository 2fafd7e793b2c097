package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Lag says how many records of each partition of a topic the group has not committed yet. A record that waits there is
// queued, not lost.
func Lag(ctx context.Context, client *kgo.Client, group, topic string) (map[int32]int64, error) {
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing start offsets of %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing end offsets of %s: %w", topic, err)
	}
	commits, err := admin.FetchOffsets(ctx, group)
	// A group that never had a member has committed nothing.
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetching offsets of group %s: %w", group, err)
	}
	lag := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		at := int64(0)
		if start, ok := starts.Lookup(topic, end.Partition); ok {
			at = start.Offset
		}
		if commit, ok := commits.Lookup(topic, end.Partition); ok && commit.Err == nil {
			at = max(at, commit.At)
		}
		lag[end.Partition] = max(0, end.Offset-at)
	})
	return lag, nil
}
