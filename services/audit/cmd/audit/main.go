// Command audit compares the books of a running system. Run it without arguments for its subcommands.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/audit"
)

func main() {
	service.Main("audit", service.Program[audit.Config]{HTTPAddr: "127.0.0.1:8085", Serve: serve})
}

func serve(ctx context.Context, config audit.Config, log *slog.Logger) error {
	s, err := audit.New(ctx, config, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
