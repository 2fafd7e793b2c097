package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/kafka"
)

const (
	lagEvery = time.Second
	// brokerPatience is how long the broker may be silent before it counts as away.
	brokerPatience = 5 * time.Second
)

// lags knows how many commands each participant has not read yet. A resend of a command that waits in such a queue
// would only make the queue longer. It also knows whether the broker answers at all, for it asks every second.
type lags struct {
	client       *kgo.Client
	topics       kafka.Topics
	participants []string
	metrics      *metrics
	log          *slog.Logger

	mu     sync.Mutex
	lag    map[string]map[int32]int64
	heard  time.Time
	broken error
}

func newLags(client *kgo.Client, topics kafka.Topics, participants []string, m *metrics, log *slog.Logger) *lags {
	return &lags{
		client: client, topics: topics, participants: participants, metrics: m, log: log,
		lag: make(map[string]map[int32]int64), heard: time.Now(),
	}
}

// queued says whether the participant has unread commands on the partition. What is not known is not queued.
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
	all := make(map[string]map[int32]int64, len(l.participants))
	var broken error
	for _, p := range l.participants {
		lag, err := kafka.Lag(ctx, l.client, l.topics.Group(p), l.topics.CommandTopic(p))
		if err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		all[p] = lag
		var sum int64
		for _, n := range lag {
			sum += n
		}
		l.metrics.participantLag.WithLabelValues(p).Set(float64(sum))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.broken
	// What could not be learnt is forgotten: a resend too many is harmless, one too few is not.
	l.lag, l.broken = all, broken
	if len(all) > 0 {
		l.heard = time.Now()
	}
	if broken != nil && was == nil && ctx.Err() == nil {
		l.log.WarnContext(ctx, "reading the lag of participants failed", "error", broken)
	}
}
