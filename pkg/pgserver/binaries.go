package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// binaries is one installation's bin directory, holding at least postgres and initdb.
type binaries struct {
	dir     string
	major   int
	source  string
	version string
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// Where distributions keep server binaries that they leave out of the PATH: Debian, PGDG on Red Hat, Alpine, Homebrew
// on both kinds of Mac, Postgres.app.
var binGlobs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// chooseBinaries takes the first way that fits. haveMajor is the version of the cluster in the data directory, 0 when
// there is none yet.
func chooseBinaries(ctx context.Context, o Options, haveMajor int) (binaries, error) {
	if o.Version == Newest {
		if haveMajor != 0 && haveMajor != NewestMajor() {
			return binaries{}, wrongMajor(o.DataDir, haveMajor,
				fmt.Sprintf("the newest embedded release is %d", NewestMajor()))
		}
		return embeddedBinaries(ctx, o, embeddedNewest())
	}
	local, err := localBinaries(ctx)
	if err != nil {
		return binaries{}, err
	}
	for _, b := range local {
		if haveMajor == 0 || b.major == haveMajor {
			return b, nil
		}
	}
	if haveMajor == 0 {
		return embeddedBinaries(ctx, o, embeddedNewest())
	}
	if v, ok := embeddedByMajor(haveMajor); ok && os.Getenv("RECOURSE_PG_BIN") == "" {
		return embeddedBinaries(ctx, o, v)
	}
	found := "no server binaries were found"
	if len(local) > 0 {
		found = fmt.Sprintf("the binaries found are %s (%s)", local[0].version, local[0].dir)
	}
	return binaries{}, wrongMajor(o.DataDir, haveMajor, found)
}

func wrongMajor(dataDir string, have int, found string) error {
	return fmt.Errorf("the cluster in %s was made by PostgreSQL %d, but %s: install PostgreSQL %d, or name its bin "+
		"folder in RECOURSE_PG_BIN, or choose another data directory (to carry the data over: pg_dump with %d, restore)",
		dataDir, have, found, have, have)
}

// localBinaries lists usable installations: the one in RECOURSE_PG_BIN alone when that is set, else the PATH's before
// the others, newest first. An installation that is too old or does not run is passed over, except a named one.
func localBinaries(ctx context.Context) ([]binaries, error) {
	if dir := os.Getenv("RECOURSE_PG_BIN"); dir != "" {
		b, err := inspect(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("RECOURSE_PG_BIN=%s: %w", dir, err)
		}
		return []binaries{b}, nil
	}
	var found []binaries
	for _, pattern := range binGlobs {
		dirs, _ := filepath.Glob(pattern) // the only error is a bad pattern
		for _, dir := range dirs {
			if b, err := inspect(ctx, dir); err == nil {
				found = append(found, b)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	if p, err := exec.LookPath("postgres"); err == nil {
		if target, err := filepath.EvalSymlinks(p); err == nil {
			p = target // initdb and the share folder are found beside the real file
		}
		if b, err := inspect(ctx, filepath.Dir(p)); err == nil {
			found = slices.Insert(found, 0, b)
		}
	}
	return found, nil
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[.\w]*)`)

func inspect(ctx context.Context, dir string) (binaries, error) {
	//nolint:gosec // whoever sets our environment may choose what we run
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("no initdb beside the server: %w", err)
	}
	//nolint:gosec // see above
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("asking the server binary for its version: %w", err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("the server binary's version is not understood: %q", out)
	}
	major, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return binaries{}, fmt.Errorf("reading the version: %w", err)
	}
	if major < MinMajor {
		return binaries{}, fmt.Errorf("PostgreSQL %s is too old: %d or later is needed", m[1], MinMajor)
	}
	return binaries{dir: dir, major: major, source: "local binaries in " + dir, version: string(m[1])}, nil
}

// checkReach runs the server binary as the user who will own the server, in the data directory. It finds out by doing
// what mode bits, ACLs and mount options together allow; the walk over the parents is only for the message.
func checkReach(ctx context.Context, b binaries, owner *account, dir string) error {
	cmd := exec.CommandContext(ctx, b.path("postgres"), "--version") //nolint:gosec // inspected before
	cmd.Dir = dir
	cmd.Env = serverEnv()
	cmd.SysProcAttr = procAttr(owner)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	for _, path := range []string{dir, b.path("postgres")} {
		if err := reachable(path, owner); err != nil {
			return err
		}
	}
	return fmt.Errorf("running the server binary %s: %w", b.path("postgres"), errors.Join(err, textError(out)))
}
