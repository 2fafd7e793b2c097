package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Queue is what a group reads of a topic.
type Queue struct{ Group, Topic string }

// Backlog is how far a group has come in a topic.
type Backlog struct {
	// Unread counts the records of each partition that the group has not committed yet.
	Unread map[int32]int64
	// Read adds up the committed offsets, so that two looks tell how fast the group reads. It falls when a log is
	// wiped or offsets are lost.
	Read int64
}

// Waiting counts the unread records of all partitions.
func (b Backlog) Waiting() int64 {
	var sum int64
	for _, n := range b.Unread {
		sum += n
	}
	return sum
}

// Lag says how many records of each partition of a topic the group has not committed yet. A record that waits there is
// queued, not lost.
func Lag(ctx context.Context, client *kgo.Client, group, topic string) (map[int32]int64, error) {
	queue := Queue{Group: group, Topic: topic}
	all, err := Backlogs(ctx, client, queue)
	return all[queue].Unread, err
}

// Backlogs looks at several queues in two or three requests, however many there are. What could not be learnt is absent
// from the answer and named in the error.
func Backlogs(ctx context.Context, client *kgo.Client, queues ...Queue) (map[Queue]Backlog, error) {
	admin := kadm.NewClient(client)
	var groups, topics []string
	for _, q := range queues {
		groups, topics = append(groups, q.Group), append(topics, q.Topic)
	}
	// In this order: what was committed in one topic may have led to records in another one, and those are then counted.
	commits := admin.FetchManyOffsets(ctx, unique(groups)...)
	ends, err := admin.ListEndOffsets(ctx, unique(topics)...)
	if err != nil {
		return nil, fmt.Errorf("listing end offsets: %w", err)
	}
	// Where a group has committed nothing, it begins at the start of the log.
	var fresh []string
	ends.Each(func(end kadm.ListedOffset) {
		for _, q := range queues {
			if q.Topic == end.Topic {
				if commit, ok := commits[q.Group].Fetched.Lookup(end.Topic, end.Partition); !ok || commit.At < 0 {
					fresh = append(fresh, q.Topic)
				}
			}
		}
	})
	var starts kadm.ListedOffsets
	if len(fresh) > 0 {
		if starts, err = admin.ListStartOffsets(ctx, unique(fresh)...); err != nil {
			return nil, fmt.Errorf("listing start offsets: %w", err)
		}
	}
	all := make(map[Queue]Backlog, len(queues))
	var errs error
	for _, q := range queues {
		backlog, err := backlogOf(q, starts, ends, commits[q.Group])
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		all[q] = backlog
	}
	return all, errs
}

func backlogOf(q Queue, starts, ends kadm.ListedOffsets, commits kadm.FetchOffsetsResponse) (Backlog, error) {
	// A group that never had a member has committed nothing.
	if err := commits.Err; err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return Backlog{}, fmt.Errorf("fetching offsets of group %s: %w", q.Group, err)
	}
	if len(ends[q.Topic]) == 0 {
		return Backlog{}, fmt.Errorf("listing end offsets of %s: %w", q.Topic, kerr.UnknownTopicOrPartition)
	}
	b := Backlog{Unread: make(map[int32]int64, len(ends[q.Topic]))}
	for partition, end := range ends[q.Topic] {
		if end.Err != nil {
			return Backlog{}, fmt.Errorf("listing end offsets of %s: %w", q.Topic, end.Err)
		}
		at := int64(0)
		if start, ok := starts.Lookup(q.Topic, partition); ok {
			if start.Err != nil {
				return Backlog{}, fmt.Errorf("listing start offsets of %s: %w", q.Topic, start.Err)
			}
			at = start.Offset
		}
		if commit, ok := commits.Fetched.Lookup(q.Topic, partition); ok && commit.Err == nil {
			at = max(at, commit.At)
		}
		b.Unread[partition] = max(0, end.Offset-at)
		b.Read += at
	}
	return b, nil
}

func unique(names []string) []string {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return keys(set)
}
