// Package pg is how this project talks to PostgreSQL: pgx and nothing on top of it but the few things every service
// would otherwise write again.
//
//   - Open: a pool with our settings, names itself to the server, traced.
//   - InTx and InTxV: the only way a transaction is opened. Serialization failures and deadlocks run the function
//     again, so it must not do anything that cannot be repeated: no network call, no channel send.
//   - Collect: lists and sums for people, planned for their parameters; everything else is planned once, by key.
//   - IsTransient: is the database (or the way to it) the trouble, or the statement? Loops pause on the first and may
//     blame the record in hand only for the second.
//   - Migrate, CheckMigrated, CreateDatabase: schema, applied by the `migrate` command and never by `serve`.
//   - CheckDurable: refuses to start on a server that forgets acknowledged commits.
//   - Clock: the database's clock, which decides what is due; a step of this machine's clock does not move it.
//   - Counter: counts statements and round trips, for the tests that show the hot path to be set-based.
//
// A transaction never lives in a context: exported store functions take the pool and open it, lower-case helpers take
// (ctx, tx, ...).
package pg
