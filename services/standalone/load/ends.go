package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
)

// End is an order that came to its end.
type End struct {
	ID uuid.UUID
	// Kind is the one that Expect was told.
	Kind string
	// From is when the order was due to be placed, At when its end was heard of.
	From, At  time.Time
	Completed bool
}

// Ends hears of the ends of orders from the public topic of order events.
type Ends struct {
	client *kgo.Client
	done   chan struct{}
	cancel context.CancelFunc

	mu   sync.Mutex
	open map[uuid.UUID]expected
	// early are ends that were heard of before the answer to whoever placed the order.
	early map[uuid.UUID]End
	list  []End
	hear  func(End)
}

type expected struct {
	kind string
	from time.Time
}

// Follow begins to read the topic. Every end is told to hear, which may be nil and must be quick.
func Follow(ctx context.Context, config kafka.Config, hear func(End)) (*Ends, error) {
	if hear == nil {
		hear = func(End) {}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(config.Brokers...), kgo.ConsumeTopics(config.Topics().OrderEventsTopic()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("following the ends of orders: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	e := &Ends{
		client: client, done: make(chan struct{}), cancel: cancel, hear: hear,
		open: map[uuid.UUID]expected{}, early: map[uuid.UUID]End{},
	}
	go e.run(ctx)
	return e, nil
}

// Close stops reading.
func (e *Ends) Close() {
	e.cancel()
	<-e.done
	e.client.Close()
}

func (e *Ends) run(ctx context.Context) {
	defer close(e.done)
	for ctx.Err() == nil {
		e.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			completed := strings.HasSuffix(typeOf(r), ".OrderCompleted")
			if !completed && !strings.HasSuffix(typeOf(r), ".OrderCancelled") && !strings.HasSuffix(typeOf(r), ".OrderClosed") {
				return
			}
			if id, err := uuid.ParseBytes(r.Key); err == nil {
				e.end(id, End{ID: id, At: time.Now(), Completed: completed})
			}
		})
	}
}

func typeOf(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "ce_type" {
			return string(h.Value)
		}
	}
	return ""
}

func (e *Ends) end(id uuid.UUID, end End) {
	e.mu.Lock()
	want, ok := e.open[id]
	if !ok {
		e.early[id] = end // or a repeat, or somebody else's
		e.mu.Unlock()
		return
	}
	delete(e.open, id)
	end.Kind, end.From = want.kind, want.from
	e.list = append(e.list, end)
	e.mu.Unlock()
	e.hear(end)
}

// Expect waits for the end of an order that was due to be placed at the given time.
func (e *Ends) Expect(id uuid.UUID, kind string, from time.Time) {
	e.mu.Lock()
	e.open[id] = expected{kind, from}
	end, over := e.early[id]
	delete(e.early, id)
	e.mu.Unlock()
	if over {
		e.end(id, end)
	}
}

// Open counts the orders whose ends are waited for.
func (e *Ends) Open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.open)
}

// Since lists the ends of orders that were due at that time or later.
func (e *Ends) Since(from time.Time) []End {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []End
	for _, end := range e.list {
		if !end.From.Before(from) {
			list = append(list, end)
		}
	}
	return list
}

// Between counts the orders that ended in that time.
func (e *Ends) Between(from, to time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, end := range e.list {
		if !end.At.Before(from) && end.At.Before(to) {
			n++
		}
	}
	return n
}

// Wait returns when no end is waited for.
func (e *Ends) Wait(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for e.Open() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d orders have not ended after %s: %w", e.Open(), patience, errors.Join(ctx.Err(), context.Cause(ctx)))
		case <-ticker.C:
		}
	}
	return nil
}
