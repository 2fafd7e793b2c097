package mailsink

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Config is read from the environment by the command; every zero value has a default.
type Config struct {
	// HTTPAddr is where the pages and the JSON API are; default 127.0.0.1:8092.
	HTTPAddr string `env:"HTTP_ADDR"`
	// SMTPAddr is where mails are taken; default 127.0.0.1:8025.
	SMTPAddr string `env:"SMTP_ADDR"`
	// Dir keeps mails as .eml files; empty keeps them in memory only.
	Dir string `env:"MAIL_DIR"`
	// Keep is how many mails are kept; default 1000. The oldest are forgotten, files included.
	Keep int `env:"MAIL_KEEP"`
	// MaxBytes is the largest mail; default 1 MiB.
	MaxBytes int64 `env:"MAIL_MAX_BYTES"`
	// SlowDelay is how long the recipient slow is kept waiting; default 3 s.
	SlowDelay time.Duration `env:"SLOW_DELAY"`
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Keep < 0 {
		errs = append(errs, fmt.Errorf("MAIL_KEEP=%d: want a number above 0, such as 1000", c.Keep))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("MAIL_MAX_BYTES=%d: want a number above 0, such as 1048576", c.MaxBytes))
	}
	if c.SlowDelay < 0 {
		errs = append(errs, fmt.Errorf("SLOW_DELAY=%v: want a duration above 0, such as 3s", c.SlowDelay))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.HTTPAddr = cmp.Or(c.HTTPAddr, "127.0.0.1:8092")
	c.SMTPAddr = cmp.Or(c.SMTPAddr, "127.0.0.1:8025")
	c.Keep = cmp.Or(c.Keep, 1000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<20)
	c.SlowDelay = cmp.Or(c.SlowDelay, 3*time.Second)
	return c
}
