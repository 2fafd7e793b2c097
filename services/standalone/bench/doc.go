// Package bench loads the platform and measures what an order costs: `recourse bench`.
//
// Everything of a run shares this machine: a PostgreSQL of its own with the settings of every embedded one (fsync and
// synchronous_commit on), a broker, and the platform's production code with nothing turned off. Nothing of it is left
// behind.
//
// What is measured from outside is exact: the CPU time of this process and of PostgreSQL's, WAL by the server's own
// position, rows and commits by its counters. How the CPU time of this process divides among its parts comes from a CPU
// profile whose samples carry the part's name as a label, which goroutines inherit from who started them. What carries
// none is the runtime's own, mostly the garbage collector.
//
// A closed loop (Options.InFlight) keeps so many orders open and tells throughput; its latency is only Little's law. An
// open loop (Options.Rate) places orders when they are due, whatever the platform does, and counts their time from
// then: a platform that stands still makes every order late that is due meanwhile.
package bench
