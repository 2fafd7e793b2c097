package payment

import (
	"cmp"
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

	// GatewayURL is the base of the payment provider's API; the simulator's by default.
	GatewayURL    string         `env:"GATEWAY_URL" envDefault:"http://127.0.0.1:8090"`
	GatewayAPIKey service.Secret `env:"GATEWAY_API_KEY"`
	// GatewayTimeout ends one request to the provider with an unknown outcome.
	GatewayTimeout time.Duration `env:"GATEWAY_TIMEOUT" envDefault:"5s"`
	// GatewayVisibility is how long the provider may take to show the effect of a request; until then nothing is sent
	// again.
	GatewayVisibility time.Duration `env:"GATEWAY_VISIBILITY" envDefault:"2s"`
	// GatewayKeyLife is how long the provider remembers idempotency keys, less a margin; after that nothing is sent
	// again.
	GatewayKeyLife time.Duration `env:"GATEWAY_KEY_LIFE" envDefault:"23h"`

	// WebhookSecret verifies the provider's webhooks: whsec_ and base64. Without it they are refused, and what they
	// would have told is found out by probes alone.
	WebhookSecret service.Secret `env:"WEBHOOK_SECRET"`
	// WebhookSecretPrevious is accepted as well, while the secret is being changed.
	WebhookSecretPrevious service.Secret `env:"WEBHOOK_SECRET_PREVIOUS"`

	// KeepWebhooks is how long webhooks are kept, as evidence and against repeats.
	KeepWebhooks service.Days `env:"KEEP_WEBHOOKS" envDefault:"90d"`

	// MaxBatch is the largest number of commands of one transaction.
	MaxBatch int `env:"MAX_BATCH" envDefault:"500"`
	// MaxCalls is the largest number of conversations with the provider at a time.
	MaxCalls int `env:"MAX_CALLS" envDefault:"64"`
	// ProbeDelays are the waits before the provider is asked again about a missing answer; the last one goes on.
	ProbeDelays []time.Duration `env:"PROBE_DELAYS" envDefault:"1s,5s,15s,1m,5m,15m,1h"`
	// ProbeEvery is how often the service looks for questions that are due.
	ProbeEvery time.Duration `env:"PROBE_EVERY" envDefault:"1s"`
}

// withDefaults fills what a Config made in code left out; from the environment it is complete.
func (c Config) withDefaults() Config {
	c.DatabaseConns = cmp.Or(c.DatabaseConns, 10)
	c.GatewayURL = cmp.Or(c.GatewayURL, "http://127.0.0.1:8090")
	c.GatewayTimeout = cmp.Or(c.GatewayTimeout, 5*time.Second)
	c.GatewayVisibility = cmp.Or(c.GatewayVisibility, 2*time.Second)
	c.GatewayKeyLife = cmp.Or(c.GatewayKeyLife, 23*time.Hour)
	c.MaxBatch = cmp.Or(c.MaxBatch, 500)
	c.MaxCalls = cmp.Or(c.MaxCalls, 64)
	c.ProbeEvery = cmp.Or(c.ProbeEvery, time.Second)
	c.HTTPAddr = cmp.Or(c.HTTPAddr, "127.0.0.1:0")
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 20*time.Second)
	if len(c.ProbeDelays) == 0 {
		c.ProbeDelays = []time.Duration{
			time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
		}
	}
	return c
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"GATEWAY_TIMEOUT", c.GatewayTimeout},
		{"GATEWAY_VISIBILITY", c.GatewayVisibility},
		{"GATEWAY_KEY_LIFE", c.GatewayKeyLife},
		{"PROBE_EVERY", c.ProbeEvery},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s=%s must be more than 0", d.name, d.value))
		}
	}
	if c.GatewayKeyLife <= c.GatewayVisibility {
		errs = append(errs, fmt.Errorf(
			"GATEWAY_KEY_LIFE=%s must be more than GATEWAY_VISIBILITY=%s, or nothing could ever be sent again",
			c.GatewayKeyLife, c.GatewayVisibility))
	}
	if c.MaxCalls < 1 {
		errs = append(errs, fmt.Errorf("MAX_CALLS=%d must be at least 1", c.MaxCalls))
	}
	if c.MaxBatch < 1 || c.MaxBatch > 5000 {
		errs = append(errs, fmt.Errorf("MAX_BATCH=%d: want 1 to 5000", c.MaxBatch))
	}
	if _, err := parseGatewayURL(c.GatewayURL); err != nil {
		errs = append(errs, err)
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

// requestsOfCall is how many requests a conversation with the provider may take: look, create, confirm, give up.
const requestsOfCall = 4

// callTimeout bounds a whole conversation.
func (c Config) callTimeout() time.Duration { return requestsOfCall * c.GatewayTimeout }
