package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/overload"
	"recourse.dev/services/standalone/stack"
)

func overloadCommand() *cobra.Command {
	var flags stackFlags
	var o overload.Options
	var report string
	cmd := &cobra.Command{
		Use:   "overload",
		Short: "Offer several times the orders that the platform can work off, then stop a worker, and see that it copes",
		Long: "Start the platform with every service as a process of its own, measure how many orders a second it can work\n" +
			"off, offer a multiple of that, and go back to a normal load; then stop the shipping worker for a while. Exit\n" +
			"status 1 if too little of the maximum (--least-goodput) came to its end in the overload, if latency was not back to normal\n" +
			"within 10 seconds, if a process used more memory than it may, if orders that do not need the stopped worker\n" +
			"took longer, or if the books do not add up. Ends with one line of JSON.\n\n" +
			"Generator and platform share this machine's cores, so what refusing costs is taken from the work.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Seconds < 5 || o.Seconds > 3600 {
				return fmt.Errorf("--seconds %d: want 5 to 3600", o.Seconds)
			}
			if o.Factor < 1 || o.Factor > 100 {
				return fmt.Errorf("--factor %g: want 1 to 100", o.Factor)
			}
			if o.LeastGoodput < 0 || o.LeastGoodput > 1 {
				return fmt.Errorf("--least-goodput %g: want 0 to 1", o.LeastGoodput)
			}
			if o.MaxMiB < 1 {
				return fmt.Errorf("--max-mib %d: want 1 or more", o.MaxMiB)
			}
			if err := writable(report); err != nil {
				return err
			}
			flags.ephemeral = flags.dataDir == ""
			o.Run = time.Now().UTC().Format("20060102150405")
			r, err := playOverload(cmd.Context(), &flags, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if report != "" {
				if err := os.WriteFile(report, append(line, '\n'), 0o644); err != nil { //nolint:gosec // the user's own file
					return fmt.Errorf("writing the report: %w", err)
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(line))
			if !r.OK() {
				return errNotGreen
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Seconds, "seconds", 120, "how long the overload lasts")
	cmd.Flags().Float64Var(&o.Factor, "factor", 5, "how many times the sustainable rate is offered")
	cmd.Flags().Float64Var(&o.LeastGoodput, "least-goodput", 0.9, "the part of the maximum that must come to its end meanwhile")
	cmd.Flags().DurationVar(&o.MostRecovery, "most-recovery", 10*time.Second, "after how long latency must be back to normal")
	cmd.Flags().IntVar(&o.MaxMiB, "max-mib", 256, "memory that each service may use, simulators of providers apart")
	cmd.Flags().StringVar(&report, "report", "", "write the line of JSON to this file too")
	flags.add(cmd.Flags())
	return cmd
}

func playOverload(
	ctx context.Context, flags *stackFlags, o overload.Options, stdout, stderr io.Writer,
) (_ *overload.Report, err error) {
	so, err := flags.options(ctx, stderr)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	o.Progress = func(format string, args ...any) {
		fmt.Fprintf(stdout, "%5.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	so.OwnProcess, so.Env = stack.Names, []string{"SLOW_DELAY=500ms", "LOG_LEVEL=warn"}
	// Long enough in doubt for orders to be there that need nothing of the worker that is stopped.
	so.MemberEnv = map[string][]string{
		stack.Payment: {"PROBE_DELAYS=2s,6s,15s,1m"}, stack.GatewaySim: {"WEBHOOK_DELAY=6s"},
	}
	if flags.databaseURL != "" || len(flags.brokers) > 0 {
		so.TopicPrefix, so.DatabasePrefix = "overload"+o.Run, "overload"+o.Run
	}
	s, err := stack.Start(ctx, so)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := stopStack(ctx, s); err == nil {
			err = stopErr
		}
	}()
	o.Progress("PostgreSQL: %s; Kafka: %s", s.Source, s.Broker)
	o.System, o.Kafka = s.System(), s.Kafka()
	o.Peak = func() map[string]int {
		peak := map[string]int{}
		for _, name := range stack.Names {
			if mib, ok := peakMiB(s.PID(name)); ok {
				peak[name] = mib
			}
		}
		return peak
	}
	o.Unbounded = []string{stack.GatewaySim, stack.CarrierSim}
	o.Halt = func(ctx context.Context) error { return s.Halt(ctx, stack.Shipping) }
	o.Resume = func(ctx context.Context) error { return s.Restart(ctx, stack.Shipping) }
	r, err := overload.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, text := range append(r.Findings[:min(len(r.Findings), 20):min(len(r.Findings), 20)], r.Wrong...) {
		fmt.Fprintln(stdout, "WRONG:", text)
	}
	return r, s.Failed()
}

// peakMiB is the most memory that a process has used; ok is false where the system does not tell.
func peakMiB(pid int) (mib int, ok bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if text, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB"))
			return (kib + 1023) / 1024, err == nil
		}
	}
	return 0, false
}
