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
	// GatewayURL and CarrierURL are where the providers' own ledgers can be read.
	GatewayURL string `env:"GATEWAY_URL,required"`
	CarrierURL string `env:"CARRIER_URL,required"`
	// Every is the pause between two audits; each reads every order.
	Every time.Duration `env:"AUDIT_EVERY" envDefault:"15m"`
	// Timeout bounds one audit.
	Timeout time.Duration `env:"AUDIT_TIMEOUT" envDefault:"10m"`
}

// Validate names every setting that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, setting := range []struct{ name, value string }{
		{"COORDINATOR_URL", c.CoordinatorURL},
		{"INVENTORY_URL", c.InventoryURL},
		{"PAYMENT_URL", c.PaymentURL},
		{"SHIPPING_URL", c.ShippingURL},
		{"GATEWAY_URL", c.GatewayURL},
		{"CARRIER_URL", c.CarrierURL},
	} {
		u, err := url.Parse(setting.value)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" {
			errs = append(errs, fmt.Errorf("%s=%s: want a URL such as http://127.0.0.1:8080", setting.name, setting.value))
		}
	}
	if c.Every < time.Second {
		errs = append(errs, fmt.Errorf("AUDIT_EVERY=%s: want 1s or more", c.Every))
	}
	if c.Timeout < time.Second {
		errs = append(errs, fmt.Errorf("AUDIT_TIMEOUT=%s: want 1s or more", c.Timeout))
	}
	return errors.Join(errs...)
}

func (c *Config) system() System {
	return System{
		Coordinator: c.CoordinatorURL, Inventory: c.InventoryURL, Payment: c.PaymentURL, Shipping: c.ShippingURL,
		Gateway: c.GatewayURL, Carrier: c.CarrierURL,
	}
}
