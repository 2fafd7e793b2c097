package sim

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/invariant"
)

// Command is recourse sim.
func Command() *cobra.Command {
	var o Options
	var replay uint64
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Play seeded histories of sagas against the decision code",
		Long: "Play seeded histories of sagas in virtual time against the decision code that production runs, with\n" +
			"losses, repeats, delays, crashes and wishes at every point. Ends with one line of JSON; exit status 1 if\n" +
			"an invariant broke or a rare path was never taken.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("replay") {
				hash, trace, err := Replay(replay)
				for _, line := range trace {
					fmt.Fprintln(cmd.OutOrStdout(), line)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "trace hash %016x\n", hash)
				return err
			}
			if o.Workers < 0 {
				return fmt.Errorf("--workers %d: want 0 or more", o.Workers)
			}
			r := Run(cmd.Context(), o)
			if r.First != nil {
				for _, line := range r.First.Trace {
					fmt.Fprintln(cmd.ErrOrStderr(), line)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "seed %d: %s\nsee it again: recourse sim --replay %d\n",
					r.First.Seed, r.First.What, r.First.Seed)
				r.First.Trace = nil
			}
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(line))
			if r.Failed() {
				return invariant.ErrBroken
			}
			return cmd.Context().Err()
		},
	}
	cmd.Flags().Uint64Var(&o.Seeds, "seeds", 1_000_000, "histories to play")
	cmd.Flags().Uint64Var(&o.From, "from", 0, "first seed")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "histories side by side; 0 is one for each core")
	cmd.Flags().Uint64Var(&replay, "replay", 0, "tell the story of one seed and end")
	return cmd
}
