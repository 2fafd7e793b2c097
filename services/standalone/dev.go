package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"recourse.dev/pkg/money"
	"recourse.dev/services/standalone/demo"
	"recourse.dev/services/standalone/stack"
)

func devCommand() *cobra.Command {
	var flags stackFlags
	var randomPorts bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the whole platform in this process, with simulated providers",
		Long: "Run coordinator, inventory, payment, shipping and notification with a simulated card gateway, carrier\n" +
			"and mail server. Nothing else is needed: PostgreSQL is found, started or downloaded, Kafka runs inside.\n" +
			"Data survive a restart. Not for production.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDev(cmd.Context(), &flags, randomPorts, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&flags.ephemeral, "ephemeral", false, "keep nothing")
	cmd.Flags().BoolVar(&randomPorts, "random-ports", false, "take free ports instead of 8080 to 8092")
	return cmd
}

func runDev(ctx context.Context, flags *stackFlags, randomPorts bool, stdout, stderr io.Writer) (err error) {
	o, err := flags.options(ctx, stderr)
	if err != nil {
		return err
	}
	begin := time.Now()
	screen := newScreen(stdout)
	o.DefaultPorts = !randomPorts
	o.Progress = func(format string, args ...any) { screen.line(fmt.Sprintf(format, args...)) }
	s, err := stack.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(stdout, "\nstopping; what is in flight goes on at the next start")
		if stopErr := stopStack(ctx, s); err == nil {
			err = stopErr
		}
	}()
	screen.done()
	if err := demo.StockShelves(ctx, s.URL(stack.Inventory)); err != nil {
		return err
	}
	welcome(stdout, s, o, time.Since(begin))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
			if err := s.Failed(); err != nil {
				return err
			}
		}
	}
}

func welcome(w io.Writer, s *stack.Stack, o stack.Options, took time.Duration) {
	kept := o.DataDir
	if o.Ephemeral {
		kept = "nowhere (--ephemeral)"
	}
	fmt.Fprintf(w, `Recourse is ready after %.1f s. Stop it with Ctrl-C.

  coordinator    %s
  inventory      %s
  payment        %s
  shipping       %s
  notification   %s
  audit          %s   (/v1/audits/conservation says whether everything adds up)
  card gateway   %s   (simulated; /admin/ledger shows its own books)
  carrier        %s   (simulated)
  mail           %s   (what was sent)
  PostgreSQL     %s
  Kafka          %s
  data           %s
  logs           %s/log

Place an order, and wait for its end:

  curl -s %s/v1/orders -H 'Content-Type: application/json' -H 'Idempotency-Key: "first"' -H 'Prefer: wait=10' -d '
  {"shop":"mugs","customer_id":"ada","reference":"1001","currency":"EUR","payment_token":"tok_visa",
   "lines":[{"sku":"SKU-MUG-BLUE","quantity":2,"unit_price_minor":1250}],"total_minor":2500,
   "ship_to":{"name":"Ada Lovelace","lines":["Unter den Linden 1"],"city":"Berlin","postal_code":"10117",
              "country":"DE","email":"ada@example.com"}}'

Break one and read why: take "payment_token":"tok_declined" or "country":"AQ" and another Idempotency-Key,
then look at "cause", "effects" and "explanation" in the answer.
`, took.Seconds(), s.URL(stack.Coordinator), s.URL(stack.Inventory), s.URL(stack.Payment), s.URL(stack.Shipping),
		s.URL(stack.Notification), s.URL(stack.Audit), s.URL(stack.GatewaySim), s.URL(stack.CarrierSim), s.URL(stack.MailSink),
		s.Source, s.Broker, kept, o.DataDir, s.URL(stack.Coordinator))
}

func moneyOf(minor int64, currency string) (string, error) {
	c, err := money.ParseCurrency(currency)
	if err != nil {
		return "", err
	}
	m, err := money.New(minor, c)
	return m.String(), err
}
