package notification

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"recourse.dev/pkg/kafka"
	"recourse.dev/pkg/service"
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

	// SMTPAddr is the mail server that takes the mails; the mail sink's by default.
	SMTPAddr string `env:"SMTP_ADDR" envDefault:"127.0.0.1:8025"`
	// SMTPFrom is the sender's address; its domain is also that of the Message-IDs.
	SMTPFrom     string `env:"SMTP_FROM" envDefault:"orders@recourse.example"`
	SMTPFromName string `env:"SMTP_FROM_NAME" envDefault:"Recourse"`
	// SMTPTLS is one of none, opportunistic, mandatory and implicit.
	SMTPTLS      string         `env:"SMTP_TLS" envDefault:"opportunistic"`
	SMTPUsername string         `env:"SMTP_USERNAME"`
	SMTPPassword service.Secret `env:"SMTP_PASSWORD"`
	// SMTPTimeout bounds a conversation with the mail server.
	SMTPTimeout time.Duration `env:"SMTP_TIMEOUT" envDefault:"10s"`
	// SMTPConns is the largest number of conversations at a time.
	SMTPConns int `env:"SMTP_CONNS" envDefault:"16"`
	// GiveUpAfter is how long a mail that the server has never had is tried.
	GiveUpAfter time.Duration `env:"GIVE_UP_AFTER" envDefault:"24h"`

	// MaxBatch is the largest number of commands of one transaction.
	MaxBatch int `env:"MAX_BATCH" envDefault:"500"`
	// ProbeDelays are the waits before a mail is tried again; the last one goes on.
	ProbeDelays []time.Duration `env:"PROBE_DELAYS" envDefault:"1s,5s,15s,1m,5m,15m,1h"`
	// ProbeEvery is how often the service looks for mails that are due.
	ProbeEvery time.Duration `env:"PROBE_EVERY" envDefault:"1s"`
}

// Validate names every setting that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"SMTP_TIMEOUT", c.SMTPTimeout},
		{"GIVE_UP_AFTER", c.GiveUpAfter},
		{"PROBE_EVERY", c.ProbeEvery},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s=%s must be more than 0", d.name, d.value))
		}
	}
	if c.SMTPConns < 1 {
		errs = append(errs, fmt.Errorf("SMTP_CONNS=%d must be at least 1", c.SMTPConns))
	}
	if len(c.ProbeDelays) == 0 {
		errs = append(errs, errors.New("PROBE_DELAYS is empty; give at least one duration"))
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

// smtp is what the mailer is told. Its own check names the rest of what may be wrong.
func (c Config) smtp() SMTPConfig {
	return SMTPConfig{
		Addr: c.SMTPAddr, From: c.SMTPFrom, FromName: c.SMTPFromName, TLS: c.SMTPTLS,
		Username: c.SMTPUsername, Password: c.SMTPPassword.Reveal(), Timeout: c.SMTPTimeout, MaxConns: c.SMTPConns,
	}
}

// messageDomain is what follows the @ in Message-IDs.
func (c Config) messageDomain() string {
	_, domain, _ := strings.Cut(c.SMTPFrom, "@")
	return domain
}

// callsPerConn is how many mails share a conversation at a time: one is being handed over, the others wait for it.
const callsPerConn = 4

// callTimeout bounds the wait for a conversation, and the conversation: a mail in a kept one that turns out to be over,
// greeting, mail and goodbye have SMTPTimeout each.
func (c Config) callTimeout() time.Duration { return 4*c.SMTPTimeout + 5*time.Second }
