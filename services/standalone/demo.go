package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/services/standalone/demo"
	"recourse.dev/services/standalone/stack"
)

// demoEnv shortens the waits, so that what takes minutes in production can be watched.
var demoEnv = []string{
	"ANSWER_TIMEOUT=2s", "OUTSIDE_TIMEOUT=5s", "RESEND_MAX=5s", "KAFKA_SESSION_TIMEOUT=6s", "SLOW_DELAY=2500ms", "DRAIN_TIMEOUT=10s",
}

func demoCommand() *cobra.Command {
	var flags stackFlags
	var server serverFlags
	var o demo.Options
	var report string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Submit a seeded mix of orders that covers every outcome, and check that everything adds up",
		Long: "Start the platform, submit a seeded mix of orders over REST (completed, out of stock, declined, carrier\n" +
			"refusal, cancelled in flight, deadline, gateway answer lost, worker killed), follow them to their ends and\n" +
			"compare the books of the coordinator, the participants and the providers. Exit status 1 if anything does\n" +
			"not add up.\n\n" +
			"With --server the same demo runs against a running system, such as the one of compose.yaml.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags.ephemeral = flags.dataDir == ""
			if o.Orders < 1 || o.Orders > 1_000_000 {
				return fmt.Errorf("--orders %d: want 1 to 1000000", o.Orders)
			}
			running, err := server.given(cmd)
			if err != nil {
				return err
			}
			if err := writable(report); err != nil {
				return err
			}
			o.Over = server.over
			// Names what this run makes: on given servers it meets nobody else's orders.
			o.Run = time.Now().UTC().Format("20060102150405")
			var r *demo.Report
			if running {
				r, err = playDemoAgainst(cmd.Context(), &server, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			} else {
				r, err = playDemo(cmd.Context(), &flags, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if err := writeReport(report, r); err != nil {
				return err
			}
			if !r.OK() {
				return errNotGreen
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Orders, "orders", 200, "orders to submit")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the mix")
	cmd.Flags().StringVar(&report, "report", "", "write the report as JSON to this file")
	cmd.Flags().DurationVar(&o.Patience, "patience", 2*time.Minute, "how long to wait for the last order's end")
	flags.add(cmd.Flags())
	server.add(cmd.Flags())
	return cmd
}

func playDemo(ctx context.Context, flags *stackFlags, o demo.Options, stdout, stderr io.Writer) (_ *demo.Report, err error) {
	so, err := flags.options(ctx, stderr)
	if err != nil {
		return nil, err
	}
	screen := newScreen(stdout)
	so.Env, so.OwnProcess = demoEnv, []string{stack.Payment}
	so.Progress = func(format string, args ...any) { screen.line(fmt.Sprintf(format, args...)) }
	if flags.databaseURL != "" || len(flags.brokers) > 0 {
		so.TopicPrefix, so.DatabasePrefix = "demo"+o.Run, "demo"+o.Run
	}
	s, err := stack.Start(ctx, so)
	if err != nil {
		return nil, err
	}
	defer func() {
		screen.done()
		if stopErr := stopStack(ctx, s); err == nil {
			err = stopErr
		}
	}()
	screen.done()
	fmt.Fprintf(stdout, "PostgreSQL: %s\nKafka:      %s\n\n", s.Source, s.Broker)
	o.System = s.System()
	o.Crash = func(ctx context.Context) error {
		if err := s.Kill(stack.Payment); err != nil {
			return err
		}
		return s.Restart(ctx, stack.Payment)
	}
	o.Progress = func(p demo.Progress) { screen.line(progressLine(p)) }
	r, err := demo.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	screen.done()
	printReport(stdout, r)
	return r, s.Failed()
}

func progressLine(p demo.Progress) string {
	text := fmt.Sprintf("%d of %d orders submitted, %d ended (%d completed, %d cancelled)",
		p.Submitted, p.Orders, p.Ended, p.ByStatus["completed"], p.ByStatus["cancelled"])
	if p.Note != "" {
		text += "; " + p.Note
	}
	return text
}

var outcomeNotes = []struct {
	outcome demo.Outcome
	note    string
}{
	{demo.Completed, "paid, labelled, confirmed"},
	{demo.AnswerLost, "completed, although the gateway's answer was lost"},
	{demo.WorkerCrash, "completed, although the payment worker was killed"},
	{demo.OutOfStock, "nothing was held"},
	{demo.Declined, "stock released"},
	{demo.CarrierRefusal, "authorization voided, stock released"},
	{demo.Cancelled, "undone while the payment was in flight"},
	{demo.Deadline, "undone while the payment was in flight"},
}

func printReport(w io.Writer, r *demo.Report) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "OUTCOME\tORDERS\t")
	for _, o := range outcomeNotes {
		if r.Outcomes[o.outcome] == 0 && o.outcome == demo.WorkerCrash {
			continue // nobody was killed
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", o.outcome, r.Outcomes[o.outcome], o.note)
	}
	_ = t.Flush() // to a screen
	if r.Late > 0 {
		fmt.Fprintf(w, "completed, because the platform was away when they were to be stopped: %d\n", r.Late)
	}
	fmt.Fprintln(w)
	a := r.Audit
	fmt.Fprintf(w, "effects still held by orders that did not complete: %d\n", r.HeldAfterUndo)
	fmt.Fprintf(w, "orders lost: %d, effects doubled: %d\n", r.Lost, r.Doubled)
	fmt.Fprintf(w, "stock: %d units left, differences: %d\n", a.Shipped(), r.StockDifferences)
	for _, c := range a.Currencies {
		fmt.Fprintf(w, "money: %s charged by the gateway's own ledger, differences: %d\n", amount(*c.Charged, c.Currency), r.MoneyDifferences)
	}
	fmt.Fprintf(w, "labels: %d live, held against the carrier's own ledger, for %d completed orders\n", a.LabelsLive, a.ByStatus["completed"])
	for _, text := range r.Unexpected {
		fmt.Fprintln(w, "UNEXPECTED:", text)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(w, "DIFFERENCE:", f.Order, f.What)
	}
	verdict := "everything adds up"
	if !r.OK() {
		verdict = "THIS DOES NOT ADD UP"
	}
	fmt.Fprintf(w, "\n%d orders in %.1f s: %s\n", r.Orders, r.Seconds, verdict)
}

// writable refuses a report path before anything is started.
func writable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the user's own file
	if err != nil {
		return fmt.Errorf("--report %s cannot be written: %w", filepath.Clean(path), err)
	}
	return f.Close()
}

func writeReport(path string, r *demo.Report) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // the user's own file
}

// screen shows one line that changes on a terminal, and a line now and then elsewhere.
type screen struct {
	w        io.Writer
	terminal bool
	last     string
	at       time.Time
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) line(text string) {
	switch {
	case text == s.last:
	case s.terminal:
		fmt.Fprintf(s.w, "\r%s\x1b[K", text)
	case time.Since(s.at) > time.Second:
		fmt.Fprintln(s.w, text)
		s.at = time.Now()
	default:
		return
	}
	s.last = text
}

func (s *screen) done() {
	if s.terminal && s.last != "" {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
	s.last = ""
}

func amount(minor int64, currency string) string {
	m, err := moneyOf(minor, currency)
	if err != nil {
		return fmt.Sprintf("%d minor units of %s", minor, strings.ToUpper(currency))
	}
	return m
}
