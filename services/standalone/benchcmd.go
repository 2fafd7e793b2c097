package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/bench"
)

func benchCommand() *cobra.Command {
	var o bench.Options
	var report string
	var l limits
	cmd := &cobra.Command{
		Use:   "bench WORKLOAD",
		Short: "Load the platform and measure what an order costs: sagas a second, latency, CPU, WAL, rows, memory",
		Long: "Start a PostgreSQL and a broker for this run alone, load the platform's production code in this\n" +
			"process, and measure it. Workloads:\n\n" +
			"  three-step   reserve, pay, ship; 10 % of the orders are declined and 5 % refused by the carrier, and undone;\n" +
			"               participants with nothing but their books to keep\n" +
			"  fulfilment   the whole order saga with the real services and simulated providers in this process, which the\n" +
			"               services' own adapters reach without sockets; mails go over SMTP\n" +
			"  http         the same with orders over the REST API, and the providers over HTTP\n" +
			"  hot-sku      as fulfilment, with orders that all want one SKU, beside orders that do not\n" +
			"  intake       orders over the REST API to the coordinator of three-step, whose participants are stopped until\n" +
			"               the last one is accepted\n\n" +
			"--in-flight keeps so many orders open (throughput), --rate places them when they are due (latency). Ends with\n" +
			"one line of JSON. Exit status 1 if anything does not add up or a limit was passed, 2 for what cannot work, 130\n" +
			"if it was stopped; then the report says what was measured until then.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("bench wants one WORKLOAD: %s", strings.Join(bench.Workloads, ", "))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Workload = args[0]
			return playBench(cmd.Context(), cmd, o, l, report)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Sagas, "sagas", 0, "orders to place (default 60000; 20000 with the real services; 40000 of intake; 10 s of --rate)")
	flags.DurationVar(&o.Duration, "duration", 0, "for how long to place orders, in place of --sagas")
	flags.IntVar(&o.InFlight, "in-flight", 0, "orders to keep open (default 4000; 2000 with the real services); intake: connections (default 256)")
	flags.Float64Var(&o.Rate, "rate", 0, "orders a second to place, in place of --in-flight")
	flags.IntVar(&o.Warmup, "warmup", 1000, "orders that go first and are not measured")
	flags.Uint64Var(&o.Seed, "seed", 0, "where in the mix to begin")
	flags.IntVar(&o.Workers, "workers", 1, "inventory workers; three-step: workers of each participant")
	flags.IntVar(&o.Coordinators, "coordinators", 1, "three-step, intake: coordinators, which share the partitions and the new orders")
	flags.IntVar(&o.Stock, "stock", 0, "units of the one SKU of hot-sku; 0 is enough for all")
	flags.IntVar(&o.Waiting, "waiting", 0,
		"three-step: orders that wait for a dead worker while others are measured, and end when it is back")
	flags.IntVar(&o.Finished, "finished", 0,
		"three-step: finished orders to put into the databases first; a million takes some minutes and 6 GB")
	flags.StringSliceVar(&o.Kafka, "kafka", nil, "brokers of a Kafka to use; default: one in this process")
	flags.IntVar(&o.KafkaPID, "kafka-pid", 0, "process id of that broker, to count its CPU time")
	flags.StringVar(&report, "report", "", "write the report as JSON to this file")
	flags.StringVar(&o.CPUProfile, "cpuprofile", "",
		"write a Go CPU profile of the measured time here, labelled by part; http writes another one to FILE.alone, of the intake alone")
	flags.StringVar(&o.HeapProfile, "heapprofile", "", "write a Go heap profile of the end of the measured time here")
	flags.StringVar(&o.Trace, "trace", "", "write a Go execution trace of the measured time here")
	flags.StringToStringVar(&l.atMost, "at-most", nil, "figures of the report that must not be more, such as wal_bytes_saga=7500")
	flags.StringToStringVar(&l.atLeast, "at-least", nil, "figures of the report that must not be less, such as hot_share=0.99")
	flags.BoolVar(&o.Waits, "waits", false, "sample what PostgreSQL waits for, and add up its statements")
	return cmd
}

// usageError is a mistake of who typed the command.
type usageError struct{ error }

func playBench(ctx context.Context, cmd *cobra.Command, o bench.Options, l limits, report string) error {
	bounds, err := l.parse()
	if err != nil {
		return usageError{err}
	}
	for _, check := range []func() error{
		func() error { return asked(cmd, "sagas", o.Sagas == 0) },
		func() error { return asked(cmd, "in-flight", o.InFlight == 0) },
		func() error { return asked(cmd, "rate", o.Rate == 0) },
		func() error { return asked(cmd, "duration", o.Duration == 0) },
		func() error { return asked(cmd, "workers", o.Workers == 0) },
		func() error { return asked(cmd, "coordinators", o.Coordinators == 0) },
		o.Validate,
		func() error { return writableAs("--report", report) },
		func() error { return writableAs("--cpuprofile", o.CPUProfile) },
		func() error { return writableAs("--heapprofile", o.HeapProfile) },
		func() error { return writableAs("--trace", o.Trace) },
		func() error { return checkBrokers(ctx, o.Kafka) },
	} {
		if err := check(); err != nil {
			return usageError{err}
		}
	}
	stdout := cmd.OutOrStdout()
	begin := time.Now()
	o.Progress = func(format string, args ...any) {
		fmt.Fprintf(stdout, "%5.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	r, err := bench.Run(ctx, o)
	if r == nil {
		return err
	}
	if told := tellBench(stdout, r, report); told != nil || err != nil {
		return errors.Join(err, told)
	}
	return errBeyond(r, bounds)
}

func tellBench(stdout io.Writer, r *bench.Report, report string) error {
	fmt.Fprintln(stdout)
	r.Print(stdout)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if report != "" {
		if err := os.WriteFile(report, append(line, '\n'), 0o644); err != nil { //nolint:gosec // the user's own file
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	fmt.Fprintln(stdout, string(line))
	switch {
	case r.Stopped:
		return exitStatus(130)
	case !r.Conservation:
		return errNotGreen
	}
	return nil
}

// asked refuses a zero that was typed: the flag's own zero means the default.
func asked(cmd *cobra.Command, flag string, zero bool) error {
	if zero && cmd.Flags().Changed(flag) {
		return fmt.Errorf("--%s %s: want more than that", flag, cmd.Flags().Lookup(flag).Value)
	}
	return nil
}

// writableAs is writable for any flag.
func writableAs(flag, path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the user's own file
	if err != nil {
		return fmt.Errorf("%s %s cannot be written: %w", flag, filepath.Clean(path), errors.Unwrap(err))
	}
	return f.Close()
}
