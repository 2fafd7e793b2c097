// Command coordinator runs the sagas of orders. See recourse.dev/coordinator.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/service"
)

func main() {
	service.Main("coordinator", service.Program[coordinator.Config]{
		HTTPAddr: "127.0.0.1:8080",
		Serve:    serve,
		Migrate:  coordinator.Migrate,
	})
}

func serve(ctx context.Context, config coordinator.Config, log *slog.Logger) error {
	s, err := coordinator.New(ctx, config, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
