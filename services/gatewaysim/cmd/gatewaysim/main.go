// Command gatewaysim runs the simulated card gateway.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/gatewaysim"
)

func main() {
	service.Main("gatewaysim", service.Program[gatewaysim.Config]{HTTPAddr: "127.0.0.1:8090", Serve: serve})
}

func serve(ctx context.Context, config gatewaysim.Config, log *slog.Logger) error {
	server, err := gatewaysim.New(config, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
