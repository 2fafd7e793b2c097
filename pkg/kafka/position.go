package kafka

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// positions knows the next offset of every partition, to notice records that are gone. The client notices only what it
// saw itself: a commit that fell out of the log while nobody was reading goes by without a word.
type positions struct {
	mu   sync.Mutex // the group's goroutine assigns, the loop follows
	next map[place]int64
}

type place struct {
	topic     string
	partition int32
}

// start notes the committed offsets of newly assigned partitions.
func (p *positions) start(offsets map[string]map[int32]kgo.Offset) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(map[place]int64)
	}
	for topic, partitions := range offsets {
		for partition, offset := range partitions {
			// Negative is "no commit": the start of the log is right then.
			if at := offset.EpochOffset().Offset; at >= 0 {
				p.next[place{topic, partition}] = at
			} else {
				delete(p.next, place{topic, partition})
			}
		}
	}
}

// follow moves on with the records that were polled and raises the alarm about gaps.
func (p *positions) follow(ctx context.Context, c *Consumer, records []*kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(map[place]int64)
	}
	for _, r := range records {
		at := place{r.Topic, r.Partition}
		want, known := p.next[at]
		p.next[at] = r.Offset + 1
		if !known || r.Offset == want {
			continue
		}
		log := c.log.With("topic", r.Topic, "partition", r.Partition, "expected_offset", want, "offset", r.Offset)
		if r.Offset > want {
			c.metrics.recordsLost.Add(float64(r.Offset - want))
			log.ErrorContext(ctx, "records were gone before they were read; resends must heal it. Is retention too short?")
		} else {
			c.metrics.dataLoss.Inc()
			log.ErrorContext(ctx, "the log is shorter than the committed offset; reading again what is left")
		}
	}
}

// rewind returns the offsets at which the batch is read again.
func (p *positions) rewind(records []*kgo.Record) map[string]map[int32]kgo.EpochOffset {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := make(map[string]map[int32]kgo.EpochOffset)
	for _, r := range records {
		if first[r.Topic] == nil {
			first[r.Topic] = make(map[int32]kgo.EpochOffset)
		}
		if _, seen := first[r.Topic][r.Partition]; !seen {
			first[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset}
			p.next[place{r.Topic, r.Partition}] = r.Offset
		}
	}
	return first
}

func (p *positions) forget(topic string, partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.next, place{topic, partition})
}

func (p *positions) forgetAll(partitions map[string][]int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, numbers := range partitions {
		for _, partition := range numbers {
			delete(p.next, place{topic, partition})
		}
	}
}
