package coordinator

import (
	"errors"
	"fmt"
	"time"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/service"
)

// Config is everything that a coordinator reads from its environment.
type Config struct {
	service.Settings
	Kafka kafka.Config
	Retention

	DatabaseURL service.Secret `env:"DATABASE_URL,required"`
	// DatabaseConns bounds the pool.
	DatabaseConns int32 `env:"DATABASE_CONNS" envDefault:"16"`
	// DatabaseWait is how long a start waits for a database that is still starting itself.
	DatabaseWait time.Duration `env:"DATABASE_WAIT" envDefault:"30s"`

	// OrderDeadline is how long an order may take to reach the point of no return, unless it says so itself.
	OrderDeadline time.Duration `env:"ORDER_DEADLINE" envDefault:"15m"`
	// AnswerTimeout and OutsideTimeout are the least waits for an answer, before a command is sent again: from a
	// participant that works on its own database, and from one that calls a provider.
	AnswerTimeout  time.Duration `env:"ANSWER_TIMEOUT" envDefault:"5s"`
	OutsideTimeout time.Duration `env:"OUTSIDE_TIMEOUT" envDefault:"30s"`
	// ResendMax caps the growing part of the waits.
	ResendMax time.Duration `env:"RESEND_MAX" envDefault:"1m"`
	// GiveUp is the number of sends after which a step is given up or shown to an operator.
	GiveUp uint32 `env:"GIVE_UP" envDefault:"6"`

	// MaxBatch is how many replies or timers are enough for one transaction. A poll takes up to twice as many replies, and
	// deals out to two transactions what is more than enough for one.
	MaxBatch int `env:"MAX_BATCH" envDefault:"500"`
	// MaxWaiting is the number of requests that may wait for the database, new orders and wishes about known ones apart;
	// more are refused.
	MaxWaiting int `env:"MAX_WAITING" envDefault:"1024"`
	// AdmitWithin is how long a new order may have to wait for the work before it; beyond it new orders are refused.
	AdmitWithin time.Duration `env:"ADMIT_WITHIN" envDefault:"3s"`
	// MaxBacklog is how many commands one participant may leave unread, while it is down for instance; beyond it new
	// orders are refused.
	MaxBacklog int64 `env:"MAX_BACKLOG" envDefault:"250000"`
	// ScanInterval is how often open sagas are read for timers that nobody watches, after a crash of somebody else.
	ScanInterval time.Duration `env:"SCAN_INTERVAL" envDefault:"30s"`
	// TimerRate bounds the timers fired a second, so that an outage does not end in a storm.
	TimerRate int `env:"TIMER_RATE" envDefault:"1000"`
	// HoldBack is how long a command is not sent again while its participant has unread commands.
	HoldBack time.Duration `env:"HOLD_BACK" envDefault:"5m"`

	// Definitions stand in place of the shipped ones, for programs that embed a coordinator: benchmarks. New orders take
	// the first.
	Definitions []*saga.Definition `env:"-" json:"-"`
}

// Retention says how long things are kept that are not business data.
type Retention struct {
	// KeepHistory is how long the history of sagas is kept, in whole months; that of an open saga is kept longer.
	KeepHistory service.Days `env:"KEEP_HISTORY" envDefault:"400d"`
	// KeepOutbox is how long domain events are kept after they were published, in whole months.
	KeepOutbox service.Days `env:"KEEP_OUTBOX" envDefault:"45d"`
	// KeepKeys is how long an idempotency key is good: after that its repeat is a new request.
	KeepKeys service.Days `env:"KEEP_KEYS" envDefault:"45d"`
	// KeepLetters is how long dead letters are kept after they were redriven or dismissed; open ones for ever.
	KeepLetters service.Days `env:"KEEP_DEAD_LETTERS" envDefault:"90d"`
}

// Validate says what the tags cannot; the message names the setting.
func (c *Config) Validate() error {
	c.setDefaults()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ORDER_DEADLINE", c.OrderDeadline},
		{"ANSWER_TIMEOUT", c.AnswerTimeout},
		{"OUTSIDE_TIMEOUT", c.OutsideTimeout},
		{"RESEND_MAX", c.ResendMax},
		{"SCAN_INTERVAL", c.ScanInterval},
		{"HOLD_BACK", c.HoldBack},
		{"ADMIT_WITHIN", c.AdmitWithin},
	} {
		if d.value < time.Millisecond {
			fail("%s=%s: want 1ms or more", d.name, d.value)
		}
	}
	// The API allows an order a day.
	least := service.Days(max(c.OrderDeadline, 24*time.Hour) + keepMargin)
	for _, k := range []struct {
		name  string
		value service.Days
	}{
		{"KEEP_HISTORY", c.KeepHistory},
		{"KEEP_OUTBOX", c.KeepOutbox},
		{"KEEP_KEYS", c.KeepKeys},
	} {
		if k.value < least {
			fail("%s=%s: want %s or more, the longest deadline of an order and a margin", k.name, k.value, least)
		}
	}
	if c.KeepLetters.Duration() < time.Hour {
		fail("KEEP_DEAD_LETTERS=%s: want 1h or more", c.KeepLetters)
	}
	if c.DatabaseConns < 4 {
		fail("DATABASE_CONNS=%d: want 4 or more: orders, replies, timers and questions take turns with fewer", c.DatabaseConns)
	}
	if c.MaxBatch < 1 || c.MaxBatch > 1000 {
		fail("MAX_BATCH=%d: want 1 to 1000", c.MaxBatch)
	}
	if c.MaxWaiting < 1 {
		fail("MAX_WAITING=%d: want 1 or more", c.MaxWaiting)
	}
	if c.MaxBacklog < 1 {
		fail("MAX_BACKLOG=%d: want 1 or more", c.MaxBacklog)
	}
	if c.TimerRate < 1 {
		fail("TIMER_RATE=%d: want 1 or more", c.TimerRate)
	}
	return errors.Join(errs...)
}

// setDefaults fills what a Config made in code left out; from the environment it is complete.
func (c *Config) setDefaults() {
	orDefault(&c.HTTPAddr, "127.0.0.1:0")
	orDefault(&c.DrainTimeout, 20*time.Second)
	orDefault(&c.DatabaseConns, 16)
	orDefault(&c.OrderDeadline, order.DefaultTiming.Deadline)
	orDefault(&c.AnswerTimeout, order.DefaultTiming.Answer)
	orDefault(&c.OutsideTimeout, order.DefaultTiming.Outside)
	orDefault(&c.ResendMax, order.DefaultTiming.Max)
	orDefault(&c.GiveUp, order.DefaultTiming.GiveUp)
	orDefault(&c.MaxBatch, 500)
	orDefault(&c.MaxWaiting, 1024)
	orDefault(&c.AdmitWithin, 3*time.Second)
	orDefault(&c.MaxBacklog, 250_000)
	orDefault(&c.ScanInterval, 30*time.Second)
	orDefault(&c.TimerRate, 1000)
	orDefault(&c.HoldBack, 5*time.Minute)
	const day = service.Days(24 * time.Hour)
	orDefault(&c.KeepHistory, 400*day)
	orDefault(&c.KeepOutbox, 45*day)
	orDefault(&c.KeepKeys, 45*day)
	orDefault(&c.KeepLetters, 90*day)
	orDefault(&c.Kafka.Partitions, 12)
	orDefault(&c.Kafka.TopicPrefix, "recourse")
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) timing() order.Timing {
	return order.Timing{
		Deadline: c.OrderDeadline, Answer: c.AnswerTimeout, Outside: c.OutsideTimeout, Max: c.ResendMax, GiveUp: c.GiveUp,
	}
}
