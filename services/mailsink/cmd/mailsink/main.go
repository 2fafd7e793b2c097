// Command mailsink takes mails by SMTP and shows them.
package main

import (
	"context"
	"log/slog"

	"recourse.dev/pkg/service"
	"recourse.dev/services/mailsink"
)

func main() {
	service.Main("mailsink", service.Program[mailsink.Config]{HTTPAddr: "127.0.0.1:8092", Serve: serve})
}

func serve(ctx context.Context, config mailsink.Config, log *slog.Logger) error {
	server, err := mailsink.New(config, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
