// Command play is the simulator and the explorer alone, as the killers of mutants run them: with every mutant it is built
// anew, and the whole platform takes five times as long to build.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/explore"
	"recourse.dev/services/standalone/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	root := &cobra.Command{Use: "play", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(sim.Command(), explore.Command())
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "play:", err)
		os.Exit(1)
	}
}
