package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
)

const (
	databasePrefix = "recourse_test_"
	dirPrefix      = "recourse-pgtest-"
	stopTimeout    = 20 * time.Second

	// No test binary runs that long: go test's own limit is ten minutes.
	leftBehindAfter = 6 * time.Hour
)

// instance is the server of this test binary. There is one, for the whole process: TestMain has no other way to hand
// something to the tests.
type instance struct {
	admin     *pgxpool.Pool
	dir       string // empty for a given server
	server    *pgserver.Server
	templates sync.Map // hash -> *build
}

var current struct {
	mu   sync.Mutex
	err  error
	inst *instance
}

func start(ctx context.Context) (*instance, error) {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.inst == nil && current.err == nil {
		// Not the first test's context alone: its end must not spoil the start for the others.
		current.inst, current.err = newInstance(context.WithoutCancel(ctx))
	}
	return current.inst, current.err
}

func newInstance(ctx context.Context) (_ *instance, err error) {
	inst := &instance{}
	defer func() {
		if err != nil {
			err = errors.Join(err, inst.close(ctx))
		}
	}()
	o := pgserver.Options{
		Settings: map[string]string{ // less memory; what a test can observe is as in the product
			"max_wal_size":   "256MB",
			"min_wal_size":   "32MB",
			"shared_buffers": "64MB",
		},
		URL:     os.Getenv("RECOURSE_TEST_DATABASE_URL"),
		Version: os.Getenv("RECOURSE_TEST_PG"),
	}
	if o.URL == "" {
		sweep()
		if inst.dir, err = makeDir(dirPrefix + "*"); err != nil {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
		o.DataDir = inst.dir
	}
	if inst.server, err = pgserver.Start(ctx, o); err != nil {
		return nil, err
	}
	if inst.admin, err = pg.Open(ctx, pg.Config{
		URL: inst.server.URL(""), AppName: "pgtest admin", MaxConns: 4,
	}); err != nil {
		return nil, err
	}
	if o.URL != "" {
		return inst, sweepDatabases(ctx, inst.admin)
	}
	return inst, nil
}

// stop ends the server if a test has started one.
func stop() error {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.inst == nil {
		return nil
	}
	err := current.inst.close(context.Background())
	current.inst = nil
	return err
}

func (i *instance) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if i.admin != nil {
		i.admin.Close()
	}
	var errs []error
	if i.server != nil {
		errs = append(errs, i.server.Stop(ctx))
	}
	if i.dir != "" {
		errs = append(errs, os.RemoveAll(i.dir))
	}
	return errors.Join(errs...)
}

const selectTestDatabases = `SELECT datname FROM pg_database WHERE starts_with(datname, $1)`

// sweepDatabases drops what killed test binaries left on a given server.
func sweepDatabases(ctx context.Context, admin *pgxpool.Pool) error {
	rows, err := admin.Query(ctx, selectTestDatabases, databasePrefix)
	if err != nil {
		return fmt.Errorf("listing the test databases: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("listing the test databases: %w", err)
	}
	for _, name := range names {
		made, _, _ := strings.Cut(strings.TrimPrefix(name, databasePrefix), "_")
		sec, err := strconv.ParseInt(made, 36, 64)
		if err != nil || time.Since(time.Unix(sec, 0)) < leftBehindAfter {
			continue
		}
		// Without FORCE: one that is still connected to is in use, and two sweepers at once are fine.
		_, _ = admin.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name))
	}
	return nil
}

// sweep removes the data directories of test binaries that were killed.
func sweep() {
	for _, parent := range parents() {
		dirs, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*")) // the pattern is a good one
		for _, dir := range dirs {
			// A young one may be between making its lock file and locking it.
			if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
				continue
			}
			_ = pgserver.RemoveAbandoned(dir) // in use, or another user's: not ours to remove
		}
	}
}
