package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/pkg/crash"
	"recourse.dev/services/standalone/chaos"
)

// chaosFlags are shared by chaos and chaos replay.
type chaosFlags struct {
	kafkaHome, out, binary string
	patience               time.Duration
}

func chaosCommand() *cobra.Command {
	var flags chaosFlags
	var minutes, sagas, faults int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Break everything under load, on real processes, Kafka and PostgreSQL, and see that every order ends right",
		Long: "Run every service as its own process on a real Apache Kafka and PostgreSQL, with a proxy on every link, place\n" +
			"orders, break one thing after the other by a seeded plan, and compare all books when everything is healed.\n" +
			"Ends with one line of JSON; exit status 1 if anything was lost, doubled, oversold, held or falsely claimed.\n\n" +
			"The plan, the logs, the ledgers and the clients' log are kept when something was found, or in --out.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("minutes") {
				if cmd.Flags().Changed("sagas") || cmd.Flags().Changed("faults") {
					return errors.New("--minutes says how many orders and faults there are: leave --sagas and --faults out")
				}
				if minutes < 1 || minutes > 10_000 {
					return fmt.Errorf("--minutes %d: want 1 to 10000", minutes)
				}
				return flags.run(cmd, chaos.PlanForMinutes(seed, minutes))
			}
			if sagas < 1 || sagas > 10_000_000 {
				return fmt.Errorf("--sagas %d: want 1 to 10000000", sagas)
			}
			if faults < 0 || faults > 1_000_000 {
				return fmt.Errorf("--faults %d: want 0 to 1000000", faults)
			}
			return flags.run(cmd, chaos.NewPlan(seed, sagas, faults))
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&minutes, "minutes", 0, "about how long orders are placed, instead of --sagas and --faults")
	cmd.Flags().IntVar(&sagas, "sagas", 21_000, "orders to place")
	cmd.Flags().IntVar(&faults, "faults", 160, "faults to bring about")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of the plan")
	replay := &cobra.Command{
		Use:   "replay PLAN",
		Short: "Play a plan file again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := chaos.ReadPlan(args[0])
			if err != nil {
				return err
			}
			return flags.run(cmd, plan)
		},
	}
	flags.add(replay)
	cmd.AddCommand(replay)
	return cmd
}

func (f *chaosFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kafkaHome, "kafka-home", os.Getenv("KAFKA_HOME"),
		"directory of an Apache Kafka: its libs/*.jar are run")
	cmd.Flags().StringVar(&f.out, "out", "", "keep plan, logs, ledgers and report in this new or empty directory")
	cmd.Flags().StringVar(&f.binary, "binary", "", "run the services with this build of recourse; default: this one")
	cmd.Flags().DurationVar(&f.patience, "patience", 3*time.Minute,
		"how long to wait for the last order's end when all is healed")
}

func (f *chaosFlags) run(cmd *cobra.Command, plan *chaos.Plan) error {
	home, err := chaos.KafkaHome(f.kafkaHome)
	if err != nil {
		return err
	}
	if f.binary == "" && !crash.Enabled {
		return errors.New("this build can neither step clocks nor roll definitions back: build with -tags crashpoints, as " +
			"`task chaos` does, or name such a build with --binary")
	}
	if f.binary != "" {
		if info, err := os.Stat(f.binary); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("--binary %s: want an executable file, made by go build", f.binary)
		}
	}
	if entries, err := os.ReadDir(f.out); f.out != "" && err == nil && len(entries) > 0 {
		return fmt.Errorf("--out %s: it is not empty; name a new directory", f.out)
	}
	begin := time.Now()
	r, err := chaos.Run(cmd.Context(), chaos.Options{
		Plan: plan, KafkaHome: home, Out: f.out, Binary: f.binary, Patience: f.patience,
		Progress: func(format string, args ...any) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%6.1f  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
		},
	})
	if err != nil {
		return err
	}
	return printChaos(cmd.OutOrStdout(), cmd.ErrOrStderr(), r)
}

func printChaos(stdout, stderr io.Writer, r *chaos.Report) error {
	const most = 40
	for i, finding := range r.Findings {
		if i == most {
			fmt.Fprintf(stderr, "and %d more, in %s/report.json\n", len(r.Findings)-most, r.Artefacts)
			break
		}
		fmt.Fprintln(stderr, "FOUND:", finding)
	}
	if r.Artefacts != "" {
		fmt.Fprintf(stderr, "everything is in %s; play it again: recourse chaos replay %[1]s/plan.json\n", r.Artefacts)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, string(line))
	if !r.OK() {
		return errNotGreen
	}
	return nil
}
