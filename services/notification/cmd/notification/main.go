// Command notification runs the notification participant: serve, migrate, healthcheck, version.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/notification"
)

func main() {
	service.Main("notification", service.Program[notification.Config]{
		HTTPAddr: "127.0.0.1:8084",
		Serve: func(ctx context.Context, config notification.Config, log *slog.Logger) error {
			s, err := notification.New(ctx, config, log)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
		Migrate: notification.Migrate,
	})
}
