package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/service"
)

// Config says who the participant is and how far it may go at once. Zero values are replaced by the defaults named.
type Config struct {
	// Participant names the service in topics, consumer group, metrics and events, for example "payment". Required.
	Participant string
	// Build is the worker field of every reply, for example "payment/1.2"; default Participant.
	Build string
	// Kafka is used by Run only.
	Kafka kafka.Config

	// MaxBatch is the largest number of records of one transaction; default 500, where more no longer pays.
	MaxBatch int
	// MaxCalls is the largest number of outside calls at a time; default 64.
	MaxCalls int
	// CallTimeout ends an outside call with an unknown outcome; default 10 s.
	CallTimeout time.Duration
	// ProbeDelays says how long the resolver waits before it asks again, question by question; the last delay goes
	// on for ever. Default 1 s, 5 s, 15 s, 1 min, 5 min, 15 min, 1 h.
	ProbeDelays []time.Duration
	// ProbeEvery is how often the resolver looks for due questions; default 1 s.
	ProbeEvery time.Duration
	// KeepSteps is how long the rows of settled effects are kept; default 45 days. It must be more than the longest
	// deadline of a saga and the retention of the commands, or commands that are still good would be refused.
	KeepSteps time.Duration
	// KeepLetters is how long dead letters are kept after they were redriven or dismissed; default 90 days.
	KeepLetters time.Duration
	// PruneEvery is how often what is too old is deleted; default 1 h.
	PruneEvery time.Duration
	// DrainTimeout is how long Run waits for outstanding calls after its context has ended; default 15 s.
	DrainTimeout time.Duration
}

// Retention are the settings of a participant's process that say when its rows may go; its Config embeds them.
type Retention struct {
	// KeepSteps is how long the rows of settled effects are kept. A command of a saga from before that is refused when
	// its row is gone, so it is more than any order may take and more than the topics' retention.
	KeepSteps service.Days `env:"KEEP_STEPS" envDefault:"45d"`
	// KeepLetters is how long dead letters are kept after they were redriven or dismissed; open ones for ever.
	KeepLetters service.Days `env:"KEEP_DEAD_LETTERS" envDefault:"90d"`
}

// Validate names what is wrong.
func (r Retention) Validate() error {
	var errs []error
	if keep := r.KeepSteps.Duration(); keep != 0 && keep < minKeepSteps {
		errs = append(errs, fmt.Errorf("KEEP_STEPS=%s: want %s or more, the longest deadline of an order and a margin",
			r.KeepSteps, service.Days(minKeepSteps)))
	}
	if keep := r.KeepLetters.Duration(); keep != 0 && keep < time.Hour {
		errs = append(errs, fmt.Errorf("KEEP_DEAD_LETTERS=%s: want 1h or more", r.KeepLetters))
	}
	return errors.Join(errs...)
}

// leaseMargin is added to the time that a call may take before anybody else asks the same question.
const leaseMargin = 2 * time.Second

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Participant == "" {
		errs = append(errs, errors.New("config: Participant is empty; name the service, for example \"payment\""))
	}
	if c.Build == "" {
		c.Build = c.Participant
	}
	atLeastOne := func(name string, value *int, fallback int) {
		if *value == 0 {
			*value = fallback
		}
		if *value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d; it must be at least 1", name, *value))
		}
	}
	positive := func(name string, value *time.Duration, fallback time.Duration) {
		if *value == 0 {
			*value = fallback
		}
		if *value < 0 {
			errs = append(errs, fmt.Errorf("%s is %s; it must be more than 0", name, *value))
		}
	}
	atLeastOne("MaxBatch", &c.MaxBatch, 500)
	atLeastOne("MaxCalls", &c.MaxCalls, 64)
	positive("CallTimeout", &c.CallTimeout, 10*time.Second)
	positive("ProbeEvery", &c.ProbeEvery, time.Second)
	positive("DrainTimeout", &c.DrainTimeout, 15*time.Second)
	positive("KeepSteps", &c.KeepSteps, 45*24*time.Hour)
	positive("KeepLetters", &c.KeepLetters, 90*24*time.Hour)
	positive("PruneEvery", &c.PruneEvery, time.Hour)
	if c.KeepSteps < minKeepSteps {
		errs = append(errs, fmt.Errorf("KeepSteps (KEEP_STEPS) is %s; it must be at least %s, the longest deadline of an order and a "+
			"margin", c.KeepSteps, minKeepSteps))
	}
	if len(c.ProbeDelays) == 0 {
		c.ProbeDelays = []time.Duration{
			time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
		}
	}
	for i := range c.ProbeDelays {
		positive(fmt.Sprintf("ProbeDelays[%d]", i), &c.ProbeDelays[i], time.Second)
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("configuring worker: %w", err)
	}
	return c, nil
}

// probeDelay is the wait after so many unanswered questions. Up to a tenth is added by chance, so that an outage of
// a provider does not end in all questions at once.
func (c Config) probeDelay(probes int) time.Duration {
	delay := c.ProbeDelays[min(probes, len(c.ProbeDelays)-1)]
	return delay + time.Duration(rand.Int64N(int64(delay)/10+1))
}

// lease is how long a call is left alone when so many others are on their way with it.
func (c Config) lease(outstanding int) time.Duration {
	return c.CallTimeout*time.Duration(1+outstanding/c.MaxCalls) + leaseMargin
}

// latest is when a call must have begun at the latest, so that it has ended when its lease does.
func (c Config) latest(leased time.Time, lease time.Duration) time.Time {
	return leased.Add(lease - c.CallTimeout - leaseMargin/2)
}
