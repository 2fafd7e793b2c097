package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/pg"
)

const (
	// Enough for a test with a few goroutines; many tests run at once on one server.
	poolConns = 8

	cleanupTimeout = 30 * time.Second
)

// Main is the body of TestMain: it runs the tests, stops the server and fails the binary when goroutines leaked.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	// A failed test may well have left goroutines behind; its own message is the one to read.
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: goroutines leaked:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// DB is a pool on a fresh database with the migrations applied. nil migrations give an empty database. Pool and
// database are gone when the test ends.
func DB(tb testing.TB, migrations fs.FS) *pgxpool.Pool {
	tb.Helper()
	return Pool(tb, URL(tb, migrations))
}

// Pool opens a pool on a URL of this package and closes it when the test ends.
func Pool(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pg.Open(tb.Context(), pg.Config{URL: url, AppName: "pgtest", MaxConns: poolConns})
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

// URL is DB for a test whose subject opens its own pool. The database is dropped when the test ends, with whatever is
// still connected to it.
func URL(tb testing.TB, migrations fs.FS) string {
	tb.Helper()
	ctx := tb.Context()
	s, err := start(ctx)
	require.NoError(tb, err, "starting PostgreSQL for the tests")
	template := "template0"
	if migrations != nil {
		template, err = s.template(ctx, migrations)
		require.NoError(tb, err, "building the template database")
	}
	name := databaseName(time.Now())
	_, err = s.admin.Exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template))
	require.NoError(tb, err)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout) // t's own has ended
		defer cancel()
		_, err := s.admin.Exec(ctx, "DROP DATABASE "+quote(name)+" WITH (FORCE)")
		require.NoError(tb, err)
	})
	return s.server.URL(name)
}

// databaseName carries the time, by which sweepDatabases knows what was left behind.
func databaseName(now time.Time) string {
	return databasePrefix + strconv.FormatInt(now.Unix(), 36) + "_" + strings.ToLower(rand.Text()[:12])
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
