package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
)

const (
	// lagEvery is how often the queues are looked at. Between two looks admission goes by the first one, so this is also
	// how late it notices a wave.
	lagEvery = 250 * time.Millisecond
	// brokerPatience is how long the broker may be silent before it counts as away.
	brokerPatience = 5 * time.Second
)

// lags knows how many commands each participant has not read yet. A resend of a command that waits in such a queue
// would only make the queue longer. It also knows whether the broker answers at all, for it asks all the time.
type lags struct {
	client    *kgo.Client
	queues    map[kafka.Queue]reading
	admission *admission
	metrics   *metrics
	log       *slog.Logger

	mu     sync.Mutex
	lag    map[string]map[int32]int64 // by participant: commands and replies
	heard  time.Time
	broken error
}

// reading says who reads a queue, and about whom it tells: a participant's commands, or its replies.
type reading struct{ by, about string }

func newLags(
	client *kgo.Client, topics kafka.Topics, participants []string, a *admission, m *metrics, log *slog.Logger,
) *lags {
	l := &lags{
		client: client, admission: a, metrics: m, log: log, heard: time.Now(),
		queues: make(map[kafka.Queue]reading), lag: make(map[string]map[int32]int64),
	}
	for _, p := range participants {
		l.queues[kafka.Queue{Group: topics.Group(p), Topic: topics.CommandTopic(p)}] = reading{p, p}
		l.queues[kafka.Queue{Group: topics.Group(Group), Topic: topics.ReplyTopic(p)}] = reading{coordinatorQueue, p}
	}
	return l
}

// queued says whether the participant has unread commands on the partition, or has written replies that nobody has
// read yet: the answer may be among them. What is not known is not queued.
func (l *lags) queued(participant string, partition int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lag[participant][partition] > 0
}

// away says why the broker counts as away; nil if it does not.
func (l *lags) away() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil || time.Since(l.heard) < brokerPatience {
		return nil
	}
	return fmt.Errorf("the Kafka broker has not answered for %s: %w", time.Since(l.heard).Round(time.Second), l.broken)
}

func (l *lags) run(ctx context.Context) error {
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	for {
		l.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (l *lags) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, brokerPatience)
	defer cancel()
	found, broken := kafka.Backlogs(ctx, l.client, slices.Collect(maps.Keys(l.queues))...)
	lag := make(map[string]map[int32]int64, len(l.queues))
	backlogs := make(map[string]kafka.Backlog, len(l.queues))
	for queue, one := range found {
		who := l.queues[queue]
		if who.by == who.about {
			l.metrics.participantLag.WithLabelValues(who.by).Set(float64(one.Waiting()))
		}
		sum := backlogs[who.by]
		if sum.Unread == nil {
			sum.Unread = make(map[int32]int64)
		}
		if lag[who.about] == nil {
			lag[who.about] = make(map[int32]int64)
		}
		for partition, n := range one.Unread {
			sum.Unread[partition] += n
			lag[who.about][partition] += n
		}
		sum.Read += one.Read
		backlogs[who.by] = sum
	}
	if broken != nil {
		// A part of the replies is no measure of all of them.
		delete(backlogs, coordinatorQueue)
	}
	l.admission.look(time.Now(), backlogs, lagEvery)
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.broken
	// What could not be learnt is forgotten: a resend too many is harmless, one too few is not.
	l.lag, l.broken = lag, broken
	if len(found) > 0 {
		l.heard = time.Now()
	}
	if broken != nil && was == nil && ctx.Err() == nil {
		l.log.WarnContext(ctx, "reading the lag of participants failed", "error", broken)
	}
}
