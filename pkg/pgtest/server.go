package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
)

const (
	databasePrefix = "recourse_test_"
	dirPrefix      = "recourse-pgtest-"
	stopTimeout    = 20 * time.Second
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
			err = errors.Join(err, inst.close())
		}
	}()
	o := pgserver.Options{URL: os.Getenv("RECOURSE_TEST_DATABASE_URL"), Version: os.Getenv("RECOURSE_TEST_PG")}
	if o.URL == "" {
		sweep()
		if inst.dir, err = os.MkdirTemp("", dirPrefix); err != nil {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
		o.DataDir = inst.dir
	}
	if inst.server, err = pgserver.Start(ctx, o); err != nil {
		return nil, err
	}
	inst.admin, err = pg.Open(ctx, pg.Config{URL: inst.server.URL(""), AppName: "pgtest admin", MaxConns: 4})
	return inst, err
}

// stop ends the server if a test has started one.
func stop() error {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.inst == nil {
		return nil
	}
	err := current.inst.close()
	current.inst = nil
	return err
}

func (i *instance) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
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

// sweep removes the data directories of test binaries that were killed.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*")) // the pattern is a good one
	for _, dir := range dirs {
		_ = pgserver.RemoveAbandoned(dir) // in use, or another user's: not ours to remove
	}
}
