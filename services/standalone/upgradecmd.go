package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/demo"
	"recourse.dev/services/standalone/upgrade"
)

func upgradeCommand() *cobra.Command {
	var flags stackFlags
	o := upgrade.Options{Load: demo.Options{Seed: 1, Patience: 2 * time.Minute, Bears: time.Minute}}
	cmd := &cobra.Command{
		Use:   "upgrade --old DIR --new DIR",
		Short: "Roll a loaded system from one version's binaries to another's, back and forward, and check that nothing is lost",
		Long: "Start the platform from the services' binaries in --old, keep orders coming, migrate with those in --new and\n" +
			"replace every service's process: forward (workers first), back (coordinator first), forward again (coordinator\n" +
			"first), two versions side by side each time. Ends with one line of JSON; exit status 1 if anything does not add up.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, dir := range []struct{ flag, path string }{{"old", o.Old}, {"new", o.New}} {
				if err := upgrade.CheckBinaries(dir.path); err != nil {
					return fmt.Errorf("--%s: %w", dir.flag, err)
				}
			}
			if o.Load.Orders < 1 || o.Load.Orders > 1_000_000 {
				return fmt.Errorf("--orders %d: want 1 to 1000000", o.Load.Orders)
			}
			flags.ephemeral = flags.dataDir == ""
			so, err := flags.options(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			o.Load.Run = time.Now().UTC().Format("20060102150405")
			if flags.databaseURL != "" || len(flags.brokers) > 0 {
				so.TopicPrefix, so.DatabasePrefix = "upgrade"+o.Load.Run, "upgrade"+o.Load.Run
			}
			so.Env = demoEnv
			begin := time.Now()
			o.Progress = func(format string, args ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%5.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
			}
			r, err := upgrade.Run(cmd.Context(), so, o)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
				return err
			}
			if !r.OK() {
				return errNotGreen
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Old, "old", "", "directory with the old version's binary of each service")
	cmd.Flags().StringVar(&o.New, "new", "", "directory with the new version's")
	cmd.Flags().DurationVar(&o.Beside, "beside", 2*time.Second, "how long two versions of a service work side by side")
	cmd.Flags().IntVar(&o.Load.Orders, "orders", 2000, "orders to submit")
	cmd.Flags().Uint64Var(&o.Load.Seed, "seed", o.Load.Seed, "seed of the mix")
	cmd.Flags().DurationVar(&o.Load.Over, "over", 90*time.Second, "spread the orders over this time")
	flags.add(cmd.Flags())
	return cmd
}
