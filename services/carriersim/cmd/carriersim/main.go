// Command carriersim runs the simulated parcel carrier.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/carriersim"
)

func main() {
	service.Main("carriersim", service.Program[carriersim.Config]{HTTPAddr: "127.0.0.1:8091", Serve: serve})
}

func serve(ctx context.Context, config carriersim.Config, log *slog.Logger) error {
	server, err := carriersim.New(config, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
