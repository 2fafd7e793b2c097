// Command shipping runs the shipping participant: serve, migrate, healthcheck, version.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/shipping"
)

func main() {
	service.Main("shipping", service.Program[shipping.Config]{
		HTTPAddr: "127.0.0.1:8083",
		Serve: func(ctx context.Context, config shipping.Config, log *slog.Logger) error {
			s, err := shipping.New(ctx, config, log)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
		Migrate: shipping.Migrate,
	})
}
