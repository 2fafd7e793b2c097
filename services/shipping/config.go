package shipping

import (
	"errors"
	"fmt"
	"time"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/webhook"
	"recourse.dev/pkg/webhook/inbox"
	"recourse.dev/pkg/worker"
)

// Config is all that the service is told, from the environment or from code.
type Config struct {
	service.Settings
	worker.Retention
	Kafka kafka.Config

	DatabaseURL service.Secret `env:"DATABASE_URL,required"`
	// DatabaseConns bounds the pool.
	DatabaseConns int32 `env:"DATABASE_CONNS" envDefault:"10"`

	// CarrierURL is the base of the carrier's API; the simulator's by default.
	CarrierURL    string         `env:"CARRIER_URL" envDefault:"http://127.0.0.1:8091"`
	CarrierAPIKey service.Secret `env:"CARRIER_API_KEY"`
	// CarrierTimeout ends one request to the carrier with an unknown outcome.
	CarrierTimeout time.Duration `env:"CARRIER_TIMEOUT" envDefault:"5s"`
	// CarrierVisibility is how long after a request the carrier may still carry it out; until then it is not repeated.
	CarrierVisibility time.Duration `env:"CARRIER_VISIBILITY" envDefault:"5s"`
	// UnitWeightG is what one unit of anything weighs, in grams: orders do not say.
	UnitWeightG int64 `env:"UNIT_WEIGHT_G" envDefault:"500"`

	// WebhookSecret verifies the carrier's webhooks: whsec_ and base64. Without it they are refused, and what they would
	// have told is found out by probes alone.
	WebhookSecret service.Secret `env:"WEBHOOK_SECRET"`
	// WebhookSecretPrevious is accepted as well, while the secret is being changed.
	WebhookSecretPrevious service.Secret `env:"WEBHOOK_SECRET_PREVIOUS"`

	// KeepWebhooks is how long webhooks are kept, as evidence and against repeats.
	KeepWebhooks service.Days `env:"KEEP_WEBHOOKS" envDefault:"90d"`

	// MaxBatch is the largest number of commands of one transaction.
	MaxBatch int `env:"MAX_BATCH" envDefault:"500"`
	// MaxCalls is the largest number of conversations with the carrier at a time.
	MaxCalls int `env:"MAX_CALLS" envDefault:"64"`
	// ProbeDelays are the waits before the carrier is asked again about a missing answer; the last one goes on.
	ProbeDelays []time.Duration `env:"PROBE_DELAYS" envDefault:"1s,5s,15s,1m,5m,15m,1h"`
	// ProbeEvery is how often the service looks for questions that are due.
	ProbeEvery time.Duration `env:"PROBE_EVERY" envDefault:"1s"`
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"CARRIER_TIMEOUT", c.CarrierTimeout},
		{"CARRIER_VISIBILITY", c.CarrierVisibility},
		{"PROBE_EVERY", c.ProbeEvery},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s=%s must be more than 0", d.name, d.value))
		}
	}
	if c.UnitWeightG < 1 {
		errs = append(errs, fmt.Errorf("UNIT_WEIGHT_G=%d must be at least 1", c.UnitWeightG))
	}
	if c.MaxCalls < 1 {
		errs = append(errs, fmt.Errorf("MAX_CALLS=%d must be at least 1", c.MaxCalls))
	}
	if len(c.ProbeDelays) == 0 {
		errs = append(errs, errors.New("PROBE_DELAYS is empty; give at least one duration"))
	}
	if keep := c.KeepWebhooks.Duration(); keep != 0 && keep < inbox.MinKeep {
		errs = append(errs, fmt.Errorf("KEEP_WEBHOOKS=%s: want %s or more", c.KeepWebhooks, service.Days(inbox.MinKeep)))
	}
	if _, err := webhook.ParseKeys(c.WebhookSecret, c.WebhookSecretPrevious); err != nil {
		errs = append(errs, fmt.Errorf("WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS: %w", err))
	}
	for _, d := range c.ProbeDelays {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("PROBE_DELAYS holds %s; each must be more than 0", d))
		}
	}
	if c.MaxBatch < 0 || c.MaxBatch > 5000 {
		errs = append(errs, fmt.Errorf("MAX_BATCH=%d: want 1 to 5000", c.MaxBatch))
	}
	if c.DatabaseConns != 0 && c.DatabaseConns < 3 {
		errs = append(errs, fmt.Errorf("DATABASE_CONNS=%d: want 3 or more", c.DatabaseConns))
	}
	if c.DatabaseURL == "" {
		errs = append(errs, errors.New("DATABASE_URL is required"))
	}
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := c.Retention.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// requestsOfCall is how many requests a conversation with the carrier may take: look, read, buy, read again.
const requestsOfCall = 4

// callTimeout bounds a whole conversation.
func (c Config) callTimeout() time.Duration { return requestsOfCall*c.CarrierTimeout + 5*time.Second }
