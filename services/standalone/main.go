// Command recourse is the whole platform in one binary for a person: run it,
// try it, prove it. Production runs each service's own binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"recourse.dev/pkg/service"
)

func main() {
	service.TuneGC()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
