package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/service"
	"recourse.dev/pkg/worker"
)

// participant names the service in topics, consumer group, metrics and migrations.
const participant = "inventory"

// Config is everything that can be set. Zero values made in code get the defaults of the tags.
type Config struct {
	service.Settings
	worker.Retention
	DatabaseURL service.Secret `env:"DATABASE_URL,required"`
	// DatabaseConns bounds the pool; the worker uses one connection, the sweeper one, the API the rest.
	DatabaseConns int32 `env:"DATABASE_CONNS" envDefault:"10"`
	Kafka         kafka.Config
	// MaxBatch is the largest number of commands of one transaction.
	MaxBatch int `env:"MAX_BATCH" envDefault:"500"`
	// SweepEvery is how often expired holds are looked for.
	SweepEvery time.Duration `env:"SWEEP_EVERY" envDefault:"1s"`
}

func (c Config) withDefaults() Config {
	c.DatabaseConns = cmp.Or(c.DatabaseConns, 10)
	c.MaxBatch = cmp.Or(c.MaxBatch, 500)
	c.SweepEvery = cmp.Or(c.SweepEvery, time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 20*time.Second)
	c.HTTPAddr = cmp.Or(c.HTTPAddr, "127.0.0.1:0")
	return c
}

// Validate checks what the tags cannot say; the message names the setting.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.DatabaseURL == "" {
		errs = append(errs, errors.New("DATABASE_URL is required: postgres://user:password@host:5432/inventory"))
	}
	if c.DatabaseConns < 3 {
		errs = append(errs, fmt.Errorf("DATABASE_CONNS=%d: want 3 or more", c.DatabaseConns))
	}
	if c.MaxBatch < 1 || c.MaxBatch > 5000 {
		errs = append(errs, fmt.Errorf("MAX_BATCH=%d: want 1 to 5000", c.MaxBatch))
	}
	if c.SweepEvery < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("SWEEP_EVERY=%s: want 10ms or more", c.SweepEvery))
	}
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := c.Retention.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
