package audit

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"recourse.dev/pkg/service"
)

// Config is read from the environment by the command.
type Config struct {
	service.Settings
	CoordinatorURL string `env:"COORDINATOR_URL,required"`
	InventoryURL   string `env:"INVENTORY_URL,required"`
	PaymentURL     string `env:"PAYMENT_URL,required"`
	ShippingURL    string `env:"SHIPPING_URL,required"`
	// GatewayURL and CarrierURL are where the providers' own ledgers can be read, which is with the simulators only.
	// Without them they are not compared, and the report says so.
	GatewayURL string `env:"GATEWAY_URL"`
	CarrierURL string `env:"CARRIER_URL"`
	// Every is the pause between two audits.
	Every time.Duration `env:"AUDIT_EVERY" envDefault:"15m"`
	// Since is how far back an audit looks: at orders that came in this time. 0 is all orders, each time.
	Since time.Duration `env:"AUDIT_SINCE" envDefault:"24h" zero:"all orders"`
	// Timeout bounds one audit.
	Timeout time.Duration `env:"AUDIT_TIMEOUT" envDefault:"10m"`
}

// Validate names every setting that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, setting := range []struct {
		name, value string
		optional    bool
	}{
		{"COORDINATOR_URL", c.CoordinatorURL, false},
		{"INVENTORY_URL", c.InventoryURL, false},
		{"PAYMENT_URL", c.PaymentURL, false},
		{"SHIPPING_URL", c.ShippingURL, false},
		{"GATEWAY_URL", c.GatewayURL, true},
		{"CARRIER_URL", c.CarrierURL, true},
	} {
		if setting.value == "" && setting.optional {
			continue
		}
		u, err := url.Parse(setting.value)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" {
			errs = append(errs, fmt.Errorf("%s=%s: want a URL such as http://127.0.0.1:8080", setting.name, setting.value))
		}
	}
	if c.Every < time.Second {
		errs = append(errs, fmt.Errorf("AUDIT_EVERY=%s: want 1s or more", c.Every))
	}
	if c.Since < 0 {
		errs = append(errs, fmt.Errorf("AUDIT_SINCE=%s: want 0 for all orders, or a time such as 24h", c.Since))
	}
	if c.Timeout < time.Second {
		errs = append(errs, fmt.Errorf("AUDIT_TIMEOUT=%s: want 1s or more", c.Timeout))
	}
	return errors.Join(errs...)
}

// since is the instant that an audit looks back to.
func (c *Config) since(now time.Time) time.Time {
	if c.Since == 0 {
		return time.Time{}
	}
	return now.Add(-c.Since)
}

func (c *Config) system() System {
	return System{
		Coordinator: c.CoordinatorURL, Inventory: c.InventoryURL, Payment: c.PaymentURL, Shipping: c.ShippingURL,
		Gateway: c.GatewayURL, Carrier: c.CarrierURL,
	}
}
