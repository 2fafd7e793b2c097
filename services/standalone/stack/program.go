package stack

import (
	"context"
	"io"
	"log/slog"

	"recourse.dev/coordinator"
	"recourse.dev/pkg/service"
	"recourse.dev/services/audit"
	"recourse.dev/services/carriersim"
	"recourse.dev/services/gatewaysim"
	"recourse.dev/services/inventory"
	"recourse.dev/services/mailsink"
	"recourse.dev/services/notification"
	"recourse.dev/services/payment"
	"recourse.dev/services/shipping"
)

// The members of the platform that code outside this package names.
const (
	GatewaySim   = "gatewaysim"
	CarrierSim   = "carriersim"
	MailSink     = "mailsink"
	Inventory    = "inventory"
	Payment      = "payment"
	Shipping     = "shipping"
	Notification = "notification"
	Coordinator  = "coordinator"
	Audit        = "audit"
	// SMTP names the mail sink's other address.
	SMTP = "smtp"
)

// Names lists the members in the order in which they start.
var Names = func() (names []string) {
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}()

// execute runs a subcommand of a service: what its own binary would do. A service that is about to run is told to made,
// unless that is nil.
type execute func(ctx context.Context, args, environ []string, stdout, stderr io.Writer, made func(service any)) int

// program is one member.
type program struct {
	name string
	// port is the one that `recourse dev` prefers.
	port int
	// database says that the member owns one; such a member also has a migrate command.
	database bool
	execute  execute
}

type runner interface {
	Run(ctx context.Context) error
}

// of makes a member of a service's own constructor and migration.
func of[C any, S runner](
	name string, port int, start func(context.Context, C, *slog.Logger) (S, error),
	migrate func(context.Context, C, *slog.Logger) error,
) program {
	return program{
		name: name, port: port, database: migrate != nil,
		execute: func(
			ctx context.Context, args, environ []string, stdout, stderr io.Writer, made func(service any),
		) int {
			p := service.Program[C]{
				Migrate: migrate,
				Serve: func(ctx context.Context, config C, log *slog.Logger) error {
					s, err := start(ctx, config, log)
					if err != nil {
						return err
					}
					if made != nil {
						made(s)
					}
					return s.Run(ctx)
				},
			}
			return service.Execute(ctx, name, p, args, environ, stdout, stderr)
		},
	}
}

// simulator adapts a constructor that needs no context.
func simulator[C any, S runner](start func(C, *slog.Logger) (S, error)) func(context.Context, C, *slog.Logger) (S, error) {
	return func(_ context.Context, config C, log *slog.Logger) (S, error) { return start(config, log) }
}

var programs = []program{
	of(GatewaySim, 8090, simulator(gatewaysim.New), nil),
	of(CarrierSim, 8091, simulator(carriersim.New), nil),
	of(MailSink, 8092, simulator(mailsink.New), nil),
	of(Inventory, 8081, inventory.New, inventory.Migrate),
	of(Payment, 8082, payment.New, payment.Migrate),
	of(Shipping, 8083, shipping.New, shipping.Migrate),
	of(Notification, 8084, notification.New, notification.Migrate),
	of(Coordinator, 8080, coordinator.New, coordinator.Migrate),
	of(Audit, 8085, audit.New, nil),
}

// Execute runs a member's subcommand as its own binary would, and returns the
// exit status; ok is false for an unknown name.
func Execute(ctx context.Context, name string, args, environ []string, stdout, stderr io.Writer) (status int, ok bool) {
	for _, p := range programs {
		if p.name == name {
			return p.execute(ctx, args, environ, stdout, stderr, nil), true
		}
	}
	return 0, false
}
