package gatewaysim

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"recourse.dev/pkg/sandbox"
	"recourse.dev/pkg/service"
)

// Config is read from the environment by the command; every zero value has a default.
type Config struct {
	sandbox.HookSettings

	// HTTPAddr is where to listen; default 127.0.0.1:8090.
	HTTPAddr string `env:"HTTP_ADDR"`
	// LedgerPath is the file that makes everything survive a restart; empty keeps it in memory only.
	LedgerPath string `env:"LEDGER_PATH"`
	// LedgerFsync waits for the disk before each answer, so that the ledger survives the machine and not only the
	// process.
	LedgerFsync bool `env:"LEDGER_FSYNC"`
	// APIKey, if set, is the bearer token that callers need.
	APIKey service.Secret `env:"API_KEY"`
	// KeyTTL is how long an idempotency key is remembered; default 24 h.
	KeyTTL time.Duration `env:"KEY_TTL"`
	// AuthorizationTTL is how long an authorization may be captured; default 7 days.
	AuthorizationTTL time.Duration `env:"AUTHORIZATION_TTL"`
	// LateDelay is how long tok_late_effect and its like wait before the effect; default 2 s.
	LateDelay time.Duration `env:"LATE_DELAY"`
	// SlowDelay is how long tok_slow keeps its answer back; default 3 s.
	SlowDelay time.Duration `env:"SLOW_DELAY"`
	// UnknownFor is how long tok_unknown_long hides an intent after its confirm; default 10 s.
	UnknownFor time.Duration `env:"UNKNOWN_FOR"`
	// Seed draws the probabilities of fault rules.
	Seed uint64 `env:"SEED"`
	// Now is the clock of keys and authorizations; default time.Now.
	Now func() time.Time `env:"-" json:"-"`
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, setting := range []struct {
		name  string
		value time.Duration
	}{
		{"KEY_TTL", c.KeyTTL},
		{"AUTHORIZATION_TTL", c.AuthorizationTTL},
		{"LATE_DELAY", c.LateDelay},
		{"SLOW_DELAY", c.SlowDelay},
		{"UNKNOWN_FOR", c.UnknownFor},
	} {
		if setting.value < 0 {
			errs = append(errs, fmt.Errorf("%s=%v: want a duration above 0, such as 2s", setting.name, setting.value))
		}
	}
	return errors.Join(append(errs, c.HookSettings.Validate())...)
}

func (c Config) withDefaults() Config {
	c.HTTPAddr = cmp.Or(c.HTTPAddr, "127.0.0.1:8090")
	c.KeyTTL = cmp.Or(c.KeyTTL, 24*time.Hour)
	c.AuthorizationTTL = cmp.Or(c.AuthorizationTTL, 7*24*time.Hour)
	c.LateDelay = cmp.Or(c.LateDelay, 2*time.Second)
	c.SlowDelay = cmp.Or(c.SlowDelay, 3*time.Second)
	c.UnknownFor = cmp.Or(c.UnknownFor, 10*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
