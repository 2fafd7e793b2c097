package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"recourse.dev/pkg/service"
)

func ExampleLoadEnv() {
	type config struct {
		service.Settings
		DatabaseURL service.Secret `env:"DATABASE_URL,required"`
	}
	c, err := service.LoadEnv[config]([]string{"DATABASE_URL=postgres://shop:secret@db/shop", "DRAIN_TIMEOUT=5s"})
	fmt.Println(c.DatabaseURL, c.DrainTimeout, err)
	_, err = service.LoadEnv[config]([]string{"DRAIN_TIMEOUT=5"})
	fmt.Println(err)
	// Output:
	// *** 5s <nil>
	// configuration: DRAIN_TIMEOUT="5" is no time.Duration: unable to parse duration: time: missing unit in duration "5"
	// DATABASE_URL is required and not set
}

func ExampleRun() {
	ctx, cancel := context.WithCancel(context.Background())
	consume := func(ctx context.Context) error {
		cancel() // what SIGTERM does
		<-ctx.Done()
		fmt.Println("batch finished")
		return nil
	}
	closePool := func(context.Context) error {
		fmt.Println("pool closed")
		return nil
	}
	err := service.Run(ctx, slog.New(slog.DiscardHandler), 10*time.Second,
		service.Component{Name: "database", Stop: closePool},
		service.Component{Name: "consumer", Run: consume})
	fmt.Println(err)
	// Output:
	// batch finished
	// pool closed
	// <nil>
}
