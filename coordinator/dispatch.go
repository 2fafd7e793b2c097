package coordinator

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/pace"
)

// maxUnsent bounds the commands that wait in memory for a broker that is away. Beyond it they are forgotten here: the
// issued steps in the database are the durable intent, and their timers send them again.
const maxUnsent = 20_000

// dispatcher sends commands after the commit of what they follow from.
type dispatcher struct {
	client  *kgo.Client
	metrics *metrics
	log     *slog.Logger

	mu     sync.Mutex
	unsent []*kgo.Record
	wake   chan struct{}
}

func newDispatcher(client *kgo.Client, m *metrics, log *slog.Logger) *dispatcher {
	return &dispatcher{client: client, metrics: m, log: log, wake: make(chan struct{}, 1)}
}

// send writes the commands and waits for their acknowledgement. What could not be written is sent later from memory,
// and after that by the steps' timers: the caller need not care.
func (d *dispatcher) send(ctx context.Context, commands []*kgo.Record) {
	if len(commands) == 0 {
		return
	}
	err := kafka.Produce(ctx, d.client, commands)
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterProduce)
	}
	if err != nil {
		d.metrics.dispatchFailures.Add(float64(len(commands)))
		d.log.WarnContext(ctx, "sending commands failed; they will be sent again", "commands", len(commands), "error", err)
		d.later(commands)
	}
}

// sendSoon is send for a caller that does not wait.
func (d *dispatcher) sendSoon(commands []*kgo.Record) {
	if len(commands) > 0 {
		d.later(commands)
	}
}

func (d *dispatcher) later(commands []*kgo.Record) {
	d.mu.Lock()
	if room := maxUnsent - len(d.unsent); len(commands) > room {
		commands = commands[:max(0, room)]
	}
	d.unsent = append(d.unsent, commands...)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run sends what was left to it, with growing pauses while the broker is away.
func (d *dispatcher) run(ctx context.Context) error {
	fails := 0
	for {
		select {
		case <-ctx.Done():
			d.flush(ctx)
			return nil
		case <-d.wake:
		}
		for commands := d.take(); len(commands) > 0; commands = d.take() {
			err := kafka.Produce(ctx, d.client, commands)
			if err == nil {
				err = crash.Fail(crash.CoordinatorAfterLateProduce)
			}
			if err != nil {
				d.metrics.dispatchFailures.Add(float64(len(commands)))
				d.later(commands)
				if ctx.Err() != nil {
					break
				}
				d.log.WarnContext(ctx, "sending commands failed; they will be sent again",
					"commands", len(commands), "error", err)
				pace.Wait(ctx, backoff(fails))
				fails++
				continue
			}
			fails = 0
		}
	}
}

// flush is the last try on the way down.
func (d *dispatcher) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	commands := d.take()
	var err error
	if len(commands) > 0 {
		err = kafka.Produce(ctx, d.client, commands)
	}
	if err == nil {
		err = crash.Fail(crash.CoordinatorAfterFlush)
	}
	if err != nil {
		d.log.WarnContext(ctx, "commands were not sent; timers will", "commands", len(commands), "error", err)
	}
}

func (d *dispatcher) take() []*kgo.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	commands := d.unsent
	d.unsent = nil
	return commands
}

// waiting counts the commands that are still to be sent.
func (d *dispatcher) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.unsent)
}

// backoff doubles from 100 ms to 5 s, half of it by chance.
func backoff(fails int) time.Duration {
	ceiling := min(5*time.Second, 100*time.Millisecond<<min(fails, 10))
	return ceiling/2 + rand.N(ceiling/2)
}
