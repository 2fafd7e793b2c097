package carriersim

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"recourse.dev/pkg/money"
	"recourse.dev/pkg/sandbox"
	"recourse.dev/pkg/service"
)

// Config is read from the environment by the command; every zero value has a default.
type Config struct {
	sandbox.HookSettings

	// HTTPAddr is where to listen; default 127.0.0.1:8091.
	HTTPAddr string `env:"HTTP_ADDR"`
	// LedgerPath is the file that makes everything survive a restart; empty keeps it in memory only.
	LedgerPath string `env:"LEDGER_PATH"`
	// LedgerFsync waits for the disk before each answer, so that the ledger survives the machine and not only the
	// process.
	LedgerFsync bool `env:"LEDGER_FSYNC"`
	// APIKey, if set, is the user name that callers need.
	APIKey service.Secret `env:"API_KEY"`
	// Currency is what labels are paid in; default EUR.
	Currency money.Currency `env:"CURRENCY"`
	// LateDelay is how long BUY-LATE and REFUND-LATE wait before the effect; default 2 s.
	LateDelay time.Duration `env:"LATE_DELAY"`
	// SlowDelay is how long SLOW keeps its answer back; default 3 s.
	SlowDelay time.Duration `env:"SLOW_DELAY"`
	// Seed draws the probabilities of fault rules.
	Seed uint64 `env:"SEED"`
	// Now is the clock; default time.Now.
	Now func() time.Time `env:"-" json:"-"`
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.LateDelay < 0 {
		errs = append(errs, fmt.Errorf("LATE_DELAY=%v: want a duration above 0, such as 2s", c.LateDelay))
	}
	if c.SlowDelay < 0 {
		errs = append(errs, fmt.Errorf("SLOW_DELAY=%v: want a duration above 0, such as 3s", c.SlowDelay))
	}
	if c.Currency != "" && !c.Currency.Valid() {
		errs = append(errs, fmt.Errorf("CURRENCY=%s: want an ISO 4217 code such as EUR", c.Currency))
	}
	return errors.Join(append(errs, c.HookSettings.Validate())...)
}

func (c Config) withDefaults() Config {
	c.HTTPAddr = cmp.Or(c.HTTPAddr, "127.0.0.1:8091")
	c.Currency = cmp.Or(c.Currency, "EUR")
	c.LateDelay = cmp.Or(c.LateDelay, 2*time.Second)
	c.SlowDelay = cmp.Or(c.SlowDelay, 3*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
