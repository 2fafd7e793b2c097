package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	"recourse.dev/services/standalone/demo"
	"recourse.dev/services/standalone/stack"
)

// Options of a run.
type Options struct {
	// Old and New are directories, each with a binary of every service.
	Old, New string
	// Load is what goes on meanwhile; its System is filled in.
	Load demo.Options
	// Beside is how long two versions of a service work side by side.
	Beside time.Duration
	// Progress is told each step.
	Progress func(format string, args ...any)
}

// Report is what a run ends with.
type Report struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Rolls counts the processes that were replaced by another version's.
	Rolls int `json:"rolls"`
	// Migrations is how many the new version applied, under load.
	Migrations int `json:"migrations"`
	// SideBySide is how long two versions of a service worked at once, of all services.
	SideBySide float64 `json:"side_by_side_seconds"`
	// DeadLetters must be none: each version understands the other.
	DeadLetters int `json:"dead_letters"`
	*demo.Report
}

// OK says that nothing was lost and nobody misunderstood, and that there were two versions to do so.
func (r *Report) OK() bool { return r.From != r.To && r.DeadLetters == 0 && r.Report.OK() }

// Workers are replaced in this order; Services with the coordinator last.
var (
	workers  = []string{stack.Inventory, stack.Payment, stack.Shipping, stack.Notification}
	Services = append(slices.Clone(workers), stack.Coordinator)
)

// beside names the second process of a service.
func beside(name string) string { return name + "-beside" }

// CheckBinaries refuses a directory that lacks a service's binary.
func CheckBinaries(dir string) error {
	for _, name := range Services {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("%s: no executable %s in it; build the services with"+
				" `go build -o %s/ ./coordinator/cmd/... ./services/{inventory,payment,shipping,notification}/cmd/...`", dir, name, dir)
		}
	}
	return nil
}

// run is a roll under way.
type run struct {
	o Options
	s *stack.Stack
	r *Report
}

// Run starts the platform from the old binaries and rolls it. The stack's options say where the servers come from.
func Run(ctx context.Context, so stack.Options, o Options) (_ *Report, err error) {
	so.Binaries, so.OwnProcess = o.Old, Services
	s, err := stack.Start(ctx, so)
	if err != nil {
		return nil, err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if stopErr := s.Stop(stopping); err == nil {
			err = stopErr
		}
	}()
	for _, name := range Services {
		if err := s.Copy(name, beside(name)); err != nil {
			return nil, err
		}
	}
	r := &run{o: o, s: s, r: &Report{}}
	if r.r.From, err = version(ctx, s.URL(stack.Coordinator)); err != nil {
		return nil, err
	}

	rolled := make(chan struct{})
	o.Load.System, o.Load.Settled = s.System(), rolled
	loading, stop := context.WithCancel(ctx)
	defer stop()
	type played struct {
		report *demo.Report
		err    error
	}
	load := make(chan played, 1)
	go func() {
		report, err := demo.Run(loading, o.Load)
		load <- played{report, err}
	}()
	if err := r.roll(ctx); err != nil {
		stop()
		<-load
		return nil, errors.Join(err, s.Failed())
	}
	close(rolled)
	end := <-load
	if end.err != nil {
		return nil, errors.Join(end.err, s.Failed())
	}
	r.r.Report = end.report
	if r.r.DeadLetters, err = r.deadLetters(ctx); err != nil {
		return nil, err
	}
	return r.r, s.Failed()
}

func (r *run) roll(ctx context.Context) error {
	before, err := r.migrations(ctx)
	if err != nil {
		return err
	}
	r.o.Progress("migrating with the new binaries, while the old ones work")
	for _, name := range Services {
		r.s.Use(name, r.o.New)
	}
	if err := r.s.Migrate(ctx); err != nil {
		return err
	}
	after, err := r.migrations(ctx)
	if err != nil {
		return err
	}
	r.r.Migrations = after - before

	coordinatorFirst := append([]string{stack.Coordinator}, workers...)
	for _, round := range []struct {
		what, binaries string
		order          []string
	}{
		{"forward, the workers first", r.o.New, Services},
		{"back, the coordinator first", r.o.Old, coordinatorFirst},
		{"forward again, the coordinator first", r.o.New, coordinatorFirst},
	} {
		for _, name := range round.order {
			r.o.Progress("%s: %s", round.what, name)
			if err := r.replace(ctx, name, round.binaries); err != nil {
				return fmt.Errorf("rolling %s: %s: %w", round.what, name, err)
			}
		}
		if round.binaries == r.o.New {
			if r.r.To, err = version(ctx, r.s.URL(stack.Coordinator)); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace puts another version in a service's place. Its second process is of the new version already when the first
// one drains, and gives way when the first one is back.
func (r *run) replace(ctx context.Context, name, binaries string) error {
	second := beside(name)
	r.s.Use(second, binaries)
	if err := r.s.Restart(ctx, second); err != nil {
		return err
	}
	begin := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.o.Beside):
	}
	if err := r.s.Halt(ctx, name); err != nil {
		return err
	}
	r.r.SideBySide += time.Since(begin).Seconds()
	r.s.Use(name, binaries)
	if err := r.s.Restart(ctx, name); err != nil {
		return err
	}
	r.r.Rolls++
	return r.s.Halt(ctx, second)
}

// migrations counts those that the databases have seen.
func (r *run) migrations(ctx context.Context) (int, error) {
	const countSQL = `SELECT count(*) FROM goose_db_version WHERE is_applied AND version_id > 0`
	sum := 0
	for _, name := range Services {
		n, err := func() (n int, err error) {
			conn, err := pgx.Connect(ctx, r.s.DatabaseURL(name))
			if err != nil {
				return 0, err
			}
			defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is pending on it
			return n, conn.QueryRow(ctx, countSQL).Scan(&n)
		}()
		if err != nil {
			return 0, fmt.Errorf("counting the migrations of %s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}

func (r *run) deadLetters(ctx context.Context) (int, error) {
	sum := 0
	for _, name := range Services {
		var page coordinatorapi.DeadLetterPage
		if err := get(ctx, r.s.URL(name)+"/v1/dead-letters", &page); err != nil {
			return 0, err
		}
		sum += len(page.DeadLetters)
	}
	return sum, nil
}

func version(ctx context.Context, base string) (string, error) {
	var build struct {
		Version string `json:"version"`
	}
	err := get(ctx, base+"/version", &build)
	return build.Version, err
}

func get(ctx context.Context, where string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reading %s: %s", where, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading %s: %w", where, err)
	}
	return nil
}
