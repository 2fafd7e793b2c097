// Package stack runs the whole platform: PostgreSQL and Kafka from wherever
// they can be had, the provider simulators, the participants and the
// coordinator. `recourse dev`, `recourse demo` and the system tests start it.
//
// Every service runs here exactly as its own binary would: by its subcommands
// migrate and serve, configured by environment variables only. A member runs
// as a goroutine of this process, or, when it is to be killed, as a process of
// its own; nothing else differs.
package stack
