// Command payment runs the payment participant: serve, migrate, healthcheck, version.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/payment"
)

func main() {
	service.Main("payment", service.Program[payment.Config]{
		HTTPAddr: "127.0.0.1:8082",
		Serve: func(ctx context.Context, config payment.Config, log *slog.Logger) error {
			s, err := payment.New(ctx, config, log)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
		Migrate: payment.Migrate,
	})
}
