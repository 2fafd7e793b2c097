package explore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/invariant"
)

// Command is recourse explore.
func Command() *cobra.Command {
	o := Options{Bounds: DefaultBounds}
	cmd := &cobra.Command{
		Use:   "explore",
		Short: "Play every history of a few small definitions against the decision code",
		Long: "Visit every state that small definitions can get into, over the decision code that production runs:\n" +
			"every order of messages, repeats, deaths of a process, timers, cancels, deadlines, refusals and lost\n" +
			"answers, within bounds. A broken promise is shown as the shortest scenario file that leads to it, for\n" +
			"coordinator/saga/testdata. Ends with one line of JSON; exit status 1 if a promise broke.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Only != "" && !slices.Contains(Names(), o.Only) {
				return fmt.Errorf("there is no definition %q; --only takes one of %s", o.Only, strings.Join(Names(), ", "))
			}
			if o.Workers < 0 || o.MaxStates < 0 {
				return fmt.Errorf("--workers %d, --max-states %d: want 0 or more", o.Workers, o.MaxStates)
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%-18s %10s %12s %6s %10s %12s %8s\n",
				"definition", "states", "transitions", "depth", "completed", "compensated", "seconds")
			o.Each = func(r Result) {
				end := ""
				if !r.Complete {
					end = "  not complete"
				}
				if r.Violation != nil {
					end = "  BROKEN: " + r.Violation.What
				}
				fmt.Fprintf(out, "%-18s %10d %12d %6d %10d %12d %8.1f%s\n",
					r.Definition, r.States, r.Transitions, r.Depth, r.Completed, r.Compensated, r.Seconds, end)
			}
			r := Run(cmd.Context(), o)
			if r.First != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "\n%s\n%s: %s, after %d moves\n",
					r.First.Scenario, r.First.Definition, r.First.What, r.First.Moves)
			}
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, string(line))
			if r.Failed() {
				return invariant.ErrBroken
			}
			return cmd.Context().Err()
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Only, "only", "", "explore one definition")
	flags.BoolVar(&o.Full, "full", false, "apply the bounds to every definition, also where that takes hours")
	flags.IntVar(&o.MaxStates, "max-states", 0, "leave a definition after so many states; 0 is never")
	flags.IntVar(&o.Workers, "workers", 0, "definitions side by side; 0 is one for each core")
	flags.Uint8Var(&o.Bounds.Repeats, "repeats", o.Bounds.Repeats, "messages that arrive once more in one history")
	flags.Uint8Var(&o.Bounds.Crashes, "crashes", o.Bounds.Crashes, "deaths of a process in one history")
	flags.Uint8Var(&o.Bounds.UndoRefusals, "undo-refusals", o.Bounds.UndoRefusals, "undos that are refused in one history")
	flags.Uint8Var(&o.Bounds.Retries, "retries", o.Bounds.Retries, "commands that are put off in one history")
	return cmd
}
