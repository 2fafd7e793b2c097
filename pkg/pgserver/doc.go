// Package pgserver answers one question for development, the demo and the tests: where does PostgreSQL come from?
//
// Production gives a URL and never sees this package's servers. Everything else must run on a machine that has nothing
// but Go, so Start tries three ways, in this order, and says which one it took (Server.Source):
//
//  1. Options.URL: a server that somebody else runs. It is checked (reachable, version 15 or later) and left alone.
//  2. Server binaries on this machine, version 15 or later: the folder in RECOURSE_PG_BIN, the PATH, then the folders
//     where distributions keep them (/usr/lib/postgresql/*/bin and the like).
//  3. The binaries that github.com/fergusstrange/embedded-postgres downloads, kept in a cache directory. With
//     Options.Version "newest" the second way is skipped.
//
// # One data directory, one owner, one version
//
// Ways 2 and 3 run a cluster of our own in Options.DataDir:
//
//	DataDir/lock             held (flock) by the process that runs the server; a second process is refused
//	DataDir/connection.json  password and last port; the port is kept over restarts when it is still free
//	DataDir/server.log       what the server says
//	DataDir/cluster          PostgreSQL's own data directory
//
// A cluster belongs to the major version that made it. Start prefers binaries of that version and refuses, naming the
// mend, when there are none. Durability settings are forced on; only tests may change them, by Options.Settings.
//
// # Not as root
//
// PostgreSQL refuses to run as root. When root starts it, initdb and the server run as the owner of an existing
// cluster, else as the user "postgres", else "nobody". That user must be able to reach DataDir and the binaries, which
// is why the download cache is /var/cache/recourse for root and the user's cache directory for everybody else
// (RECOURSE_CACHE_DIR overrides). DefaultDataDir picks a data directory that the user can reach.
//
// # Ends
//
// Stop asks for a fast shutdown (SIGINT to the postmaster's pid) and waits. When our process dies without Stop, the
// kernel sends the same signal on Linux (see process.go). What neither covers, kill -9 of the server or a power cut,
// is PostgreSQL's own crash recovery at the next Start; a stale postmaster.pid is recognised and removed.
package pgserver
