package pgserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"recourse.dev/pkg/pgserver"
)

// A development program takes the URL it was given, or brings its own server along.
func ExampleStart() {
	run := func(ctx context.Context) error {
		dir, err := pgserver.DefaultDataDir(".recourse")
		if err != nil {
			return err
		}
		server, err := pgserver.Start(ctx, pgserver.Options{
			URL:     os.Getenv("DATABASE_URL"),
			DataDir: dir,
			Log:     slog.Default(),
		})
		if err != nil {
			return fmt.Errorf("starting PostgreSQL: %w", err)
		}
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return server.Stop(ctx)
	}
	_ = run
}
