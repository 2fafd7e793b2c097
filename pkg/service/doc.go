// Package service gives every process the same shape, so that a reader of one main has read them all.
//
//	func main() {
//		service.Main("inventory", service.Program[inventory.Config]{
//			HTTPAddr: "127.0.0.1:8081",
//			Serve:    serve,
//			Migrate:  inventory.Migrate,
//		})
//	}
//
// Main knows the subcommands serve, migrate, version and healthcheck, reads the configuration from the environment
// (LoadEnv), makes the logger and ends on SIGTERM or an interrupt. A second signal ends the process at once.
//
// Inside serve, Run owns the parts of the process. They start in the order in which they are listed and stop in the
// reverse order under one deadline: list what others need first, and the HTTP server last, so that on the way down
// readiness turns red and intake ends before the work in hand is finished and the pool is closed.
package service
