package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// forgetEvery is how often the broker looks for records that it may forget.
	forgetEvery = time.Second
	// segmentInMemory and segmentOnDisk are how much is forgotten at once. In memory a segment has up to twice its size,
	// and each of a hundred partitions has one that is not full; on disk it is a file.
	segmentInMemory, segmentOnDisk = 32 << 10, 1 << 20
)

// forgetter deletes what a real broker's retention would have deleted long ago in proportion to the memory there is:
// kfake holds every record, or an index of it, for as long as it runs.
type forgetter struct {
	cluster *kfake.Cluster
	keep    int64
	client  *kgo.Client
	log     *slog.Logger
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func brokerConfigs(o Options) kfake.Opt {
	size := segmentInMemory
	if o.DataDir != "" {
		size = segmentOnDisk
	}
	return kfake.BrokerConfigs(map[string]string{
		"log.segment.bytes": strconv.Itoa(size),
		// kfake drops groups that have committed nothing each time it looks for positions that are too old. They are
		// readers all the same, see reads.
		"offsets.retention.check.interval.ms": strconv.FormatInt((365 * 24 * time.Hour).Milliseconds(), 10),
	})
}

func startForgetting(cluster *kfake.Cluster, keep int, log *slog.Logger) (*forgetter, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics())
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker's retention: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &forgetter{cluster: cluster, keep: int64(keep), client: client, log: log, cancel: cancel}
	f.done.Go(func() { f.run(ctx) })
	return f, nil
}

func (f *forgetter) stop() {
	f.cancel()
	f.done.Wait()
	f.client.Close()
}

func (f *forgetter) run(ctx context.Context) {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := f.runOnce(ctx); err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "the embedded broker forgets nothing for now", "error", err)
		}
	}
}

// runOnce asks over the wire only for what kfake's own interface does not list.
func (f *forgetter) runOnce(ctx context.Context) error {
	broker := f.client.SeedBrokers()[0]
	listed, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, broker)
	if err != nil {
		return fmt.Errorf("listing groups: %w", err)
	}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Topics = nil // all
	known, err := metadata.RequestWith(ctx, broker)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	// The topics' ends before the groups' positions: a group that comes later than its topic's look reads what is kept.
	for _, topic := range known.Topics {
		if topic.Topic == nil {
			continue
		}
		partitions := f.cluster.PartitionInfos(*topic.Topic)
		var readers []*kfake.GroupInfo
		for _, g := range listed.Groups {
			if group := f.cluster.GroupInfo(g.Group); group != nil && reads(group, *topic.Topic) {
				readers = append(readers, group)
			}
		}
		for _, p := range partitions {
			if to := f.until(p, *topic.Topic, readers); to > p.LogStartOffset {
				if err := f.cluster.DeleteRecords(*topic.Topic, p.Partition, to); err != nil {
					return fmt.Errorf("forgetting records of %s/%d: %w", *topic.Topic, p.Partition, err)
				}
			}
		}
	}
	return nil
}

// reads says whether records of the topic are for the group: it has read some, or will. What a group wants that has left
// before it read anything, nobody knows, so all topics are for it until it comes again.
func reads(group *kfake.GroupInfo, topic string) bool {
	if len(group.Commits[topic]) > 0 || len(group.Commits) == 0 && len(group.Members) == 0 {
		return true
	}
	return slices.ContainsFunc(group.Members, func(m kfake.GroupMember) bool {
		return slices.Contains(m.SubscribedTopics, topic)
	})
}

// until is where the partition's log may begin: what a reader has not committed stays, and of the rest the newest
// records, for who reads from the start. Half as many again are let come together, so that there is less to do.
func (f *forgetter) until(p *kfake.PartitionInfo, topic string, readers []*kfake.GroupInfo) int64 {
	to := p.HighWatermark - f.keep
	for _, group := range readers {
		to = min(to, group.Commits[topic][p.Partition].Offset) // without a commit it is 0
	}
	if to < p.LogStartOffset+f.keep/2 {
		return p.LogStartOffset
	}
	return to
}
