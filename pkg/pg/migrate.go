package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// MigrateTable is where goose keeps what was applied; its own default, so that the goose command works here too.
const MigrateTable = goose.DefaultTablename

// Migrate applies the goose migrations at the root of fsys that the database does not have yet, and says how many. It
// may be called by several processes at once: a session-level advisory lock lets one work and the others find nothing
// left to do. Each migration is one transaction; a failed one leaves the earlier ones applied.
func Migrate(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) (applied int, err error) {
	provider, err := newProvider(pool, fsys)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	results, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		return len(partial.Applied), fmt.Errorf("applying migration %s: %w", partial.Failed.Source.Path, partial.Err)
	}
	if err != nil {
		return 0, fmt.Errorf("applying migrations: %w", err)
	}
	return len(results), nil
}

// MigrateURL is Migrate for a caller without a pool.
func MigrateURL(ctx context.Context, url string, fsys fs.FS) (applied int, err error) {
	pool, err := Open(ctx, Config{URL: url, AppName: "migrate", MaxConns: 2})
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	return Migrate(ctx, pool, fsys)
}

// CheckMigrated refuses a database that lacks migrations of fsys. A database that is ahead is fine: migrations go out
// before the binaries that need them.
func CheckMigrated(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) (err error) {
	provider, err := newProvider(pool, fsys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	pending, err := provider.HasPending(ctx)
	if err != nil {
		return fmt.Errorf("reading which migrations were applied: %w", err)
	}
	if pending {
		return errors.New("the database's schema is older than this program: run its migrate command first")
	}
	return nil
}

func newProvider(pool *pgxpool.Pool, fsys fs.FS) (*goose.Provider, error) {
	// Tried once a second for ten minutes: a first migration of a big table may take that long elsewhere.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600), lock.WithUnlockTimeout(1, 5))
	if err != nil {
		return nil, fmt.Errorf("making the migration lock: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the migration files: %w", err), db.Close())
	}
	return provider, nil
}

const selectDatabase = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`

// CreateDatabase makes the database when it is missing. The URL is that of any database on the server whose user may
// create others. Calls at the same time are fine.
func CreateDatabase(ctx context.Context, adminURL, name string) error {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return fmt.Errorf("connecting to create database %s: %w", name, err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending on it
	var exists bool
	if err := conn.QueryRow(ctx, selectDatabase, name).Scan(&exists); err != nil {
		return fmt.Errorf("looking for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	// Two creators at once: the later one sees either its own check fail or the catalog's unique index.
	if code := Code(err); code == DuplicateDatabase || code == UniqueViolation {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	return nil
}
