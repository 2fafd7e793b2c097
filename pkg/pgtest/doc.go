// Package pgtest gives each test a database of its own on a real PostgreSQL, in some tens of milliseconds.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestStore_Insert(t *testing.T) {
//		t.Parallel()
//		pool := pgtest.DB(t, migrations.FS("inventory"))
//		...
//	}
//
// # The server
//
// The first test that asks starts one server for the test binary (pkg/pgserver: local binaries, else downloaded ones).
// Its settings are as durable as pg.CheckDurable demands; its data are in memory where Linux has room in /dev/shm, else
// below the temporary directory. Main stops it, removes the data and then looks for leaked goroutines. A binary that is
// killed takes its server along (see pgserver), and the next one removes what it left.
//
//	RECOURSE_TEST_DATABASE_URL  use this server instead; its user must be allowed to create databases, and it may
//	                            serve several test binaries at once
//	RECOURSE_TEST_DIR           where the data go
//	RECOURSE_TEST_PG            "newest" starts the newest release that embedded-postgres offers, not a local one
//
// # The databases
//
// Applying migrations takes longer than a test, so it is done once per set of migration files: into a template database
// named by the hash of the files, under an advisory lock, as several binaries may share the server. A test's database
// is a copy of it, dropped when the test ends.
package pgtest
