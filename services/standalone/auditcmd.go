package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/services/audit"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare the books of a running system",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(conservationCommand())
	return cmd
}

func conservationCommand() *cobra.Command {
	server := serverFlags{real: true}
	var (
		since  time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "conservation",
		Short: "Say whether orders, stock, money and labels add up, and name the order behind every difference",
		Long: "Read coordinator and participants through their public interfaces, without stopping anything, and compare\n" +
			"them order by order. What orders that have not ended hold is in flight and allowed for. The ledgers of the\n" +
			"simulated card gateway and carrier are compared too if they answer; where real providers are, they are left\n" +
			"out, and the report says so. Exit status 1 if anything does not add up.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since < 0 {
				return fmt.Errorf("--since %s: want 0 for all orders, or a time such as 24h", since)
			}
			system, err := server.system(cmd.Context())
			if err != nil {
				return err
			}
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			r, err := audit.Since(cmd.Context(), system, from)
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			} else {
				printAudit(cmd.OutOrStdout(), r)
			}
			if !r.OK() {
				return errNotGreen
			}
			return nil
		},
	}
	server.addURLs(cmd.Flags(), "http://127.0.0.1:8080")
	cmd.Flags().DurationVar(&since, "since", 0, "look only at orders that came in this time, such as 24h (default: all orders)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as one line of JSON")
	return cmd
}

func printAudit(w io.Writer, r *audit.Report) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if r.Since != nil {
		fmt.Fprintf(t, "since\t%s\t\n", r.Since.Format(time.RFC3339))
	}
	fmt.Fprintf(t, "orders\t%d\t%d of them open\n", r.Orders, r.Open)
	fmt.Fprintf(t, "stock\t%d units left\tdifferences: %d\n", r.Shipped(), len(r.Stock))
	for _, c := range r.Currencies {
		fmt.Fprintf(t, "money\t%s charged\tdifferences: %d\n", amount(c.Booked, c.Currency), len(r.Money))
	}
	fmt.Fprintf(t, "labels\t%d live\t\n", r.LabelsLive)
	fmt.Fprintf(t, "effects doubled\t%d\t\n", len(r.Doubled))
	fmt.Fprintf(t, "effects held after an undo\t%d\t\n", len(r.HeldAfterUndo))
	fmt.Fprintf(t, "effects missing\t%d\t\n", len(r.Missing))
	_ = t.Flush() // to a terminal or a pipe that may be gone
	for _, f := range r.Findings() {
		fmt.Fprintln(w, "DIFFERENCE:", f.Order, f.What)
	}
	if r.LeftOff > 0 {
		fmt.Fprintf(w, "and %d differences more\n", r.LeftOff)
	}
	for _, what := range r.NotCompared {
		fmt.Fprintf(w, "not compared: the %s's own ledger (--%s URL says where one can be read)\n", what, what)
	}
	if r.OK() {
		fmt.Fprintln(w, "everything adds up")
	}
}
