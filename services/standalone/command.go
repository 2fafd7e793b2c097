package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"recourse.dev/pkg/service"
	"recourse.dev/services/standalone/explore"
	"recourse.dev/services/standalone/invariant"
	"recourse.dev/services/standalone/sim"
	"recourse.dev/services/standalone/stack"
)

// errNotGreen ends the process with status 1; what is wrong has been printed.
var errNotGreen = errors.New("not green")

// run is the command line; it returns the exit status: 0 ok, 1 error, 2 usage, 130 interrupted.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "recourse",
		Short: "Order orchestration: every order ends fulfilled or fully undone, and you can see the proof",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(
		devCommand(),
		demoCommand(), sim.Command(), auditCommand(), explore.Command(), serveCommand(), versionCommand(),
	)
	root.AddCommand(chaosCommand(), mutantsCommand(), upgradeCommand())
	root.AddCommand(overloadCommand(), benchCommand())
	usage := false
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		usage = true
		return err
	})
	err := root.ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errNotGreen), errors.Is(err, invariant.ErrBroken):
		return 1
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "recourse: interrupted")
		return 130
	}
	fmt.Fprintln(stderr, "recourse:", err)
	if _, mistake := errors.AsType[usageError](err); usage || mistake {
		return 2
	}
	return 1
}

// exitStatus is a member's own exit status.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "serve NAME",
		Short:     "Run one service as its own binary would, configured by environment variables",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: stack.Names,
		RunE: func(cmd *cobra.Command, args []string) error {
			status, _ := stack.Execute(cmd.Context(), args[0], []string{"serve"}, os.Environ(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			if status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "recourse", service.Version())
			return nil
		},
	}
}
