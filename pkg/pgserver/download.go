package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// embeddedNewest must move with the library; a test compares it with the library's default.
func embeddedNewest() embeddedpostgres.PostgresVersion { return embeddedpostgres.V18 }

// NewestMajor is the major version that Options.Version Newest means.
func NewestMajor() int { return majorOf(embeddedNewest()) }

// embeddedByMajor keeps old data directories usable after the newest has moved on.
func embeddedByMajor(major int) (embeddedpostgres.PostgresVersion, bool) {
	for _, v := range []embeddedpostgres.PostgresVersion{
		embeddedpostgres.V18, embeddedpostgres.V17, embeddedpostgres.V16, embeddedpostgres.V15,
	} {
		if majorOf(v) == major {
			return v, true
		}
	}
	return "", false
}

func majorOf(v embeddedpostgres.PostgresVersion) int {
	major, _, _ := strings.Cut(string(v), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		panic("embedded-postgres has a version that is no version: " + string(v))
	}
	return n
}

// embeddedBinaries returns the cached binaries of one release, downloading them the first time.
func embeddedBinaries(ctx context.Context, o Options, v embeddedpostgres.PostgresVersion) (binaries, error) {
	cache, err := cacheDir(o.CacheDir)
	if err != nil {
		return binaries{}, err
	}
	final := filepath.Join(cache, "postgres-"+string(v))
	if _, err := os.Stat(filepath.Join(final, "bin", "postgres")); err != nil {
		if err := download(ctx, o.Log, cache, final, v); err != nil {
			return binaries{}, fmt.Errorf("downloading PostgreSQL %s: %w; without a way out to the network, install "+
				"PostgreSQL %d or later, or give the URL of a running server", v, err, MinMajor)
		}
	}
	b, err := inspect(ctx, filepath.Join(final, "bin"))
	if err != nil {
		return binaries{}, fmt.Errorf("the downloaded PostgreSQL in %s does not run (remove that folder to download "+
			"it again): %w", final, err)
	}
	b.source = "embedded-postgres binaries in " + final
	return b, nil
}

// download lets embedded-postgres fetch, verify and unpack a release. The library only does that as the first half of
// its Start, whose second half (initdb and pg_ctl) is not for us: it cannot drop root. So it is shown a data directory
// that looks initialised, which skips initdb, and is empty otherwise, which makes pg_ctl fail at once; the expected
// failure is told from a real one by whether the binaries are there.
//
// Everything happens in a scratch folder that is renamed at the end, so a killed download never looks like a finished
// one, and under a file lock, so that processes started together download once.
func download(
	ctx context.Context, log *slog.Logger, cache, final string, v embeddedpostgres.PostgresVersion,
) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("making the cache directory: %w", err)
	}
	lock, err := waitLockFile(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return fmt.Errorf("waiting for another download: %w", err)
	}
	// Closing only ends the wait of other processes; the download's own result is what counts.
	defer lock.Close() //nolint:errcheck // see above
	if _, err := os.Stat(filepath.Join(final, "bin", "postgres")); err == nil {
		return nil
	}
	scratch, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return fmt.Errorf("making a scratch folder: %w", err)
	}
	begin := time.Now()
	log.InfoContext(ctx, "downloading postgres", slog.String("version", string(v)), slog.String("cache_dir", cache))

	fetched := make(chan error, 1)
	go func() {
		// The library takes no context: when ours ends first, this goroutine finishes alone and cleans up.
		defer os.RemoveAll(scratch) //nolint:errcheck // left-over scratch is only disk space
		fetched <- fetch(scratch, final, v)
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-fetched:
		if err == nil {
			log.InfoContext(ctx, "downloaded postgres",
				slog.String("version", string(v)), slog.Duration("took", time.Since(begin)))
		}
		return err
	}
}

func fetch(scratch, final string, v embeddedpostgres.PostgresVersion) error {
	data, unpacked := filepath.Join(scratch, "data"), filepath.Join(scratch, "unpacked")
	if err := os.Mkdir(data, 0o700); err != nil {
		return fmt.Errorf("making a scratch folder: %w", err)
	}
	mark := fmt.Appendf(nil, "%d\n", majorOf(v))
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), mark, 0o600); err != nil {
		return fmt.Errorf("marking the scratch folder: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	startErr := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(v).
		Port(uint32(port)).
		CachePath(filepath.Join(scratch, "archive")).
		RuntimePath(filepath.Join(scratch, "runtime")).
		BinariesPath(unpacked).
		DataPath(data).
		Logger(io.Discard)).Start()
	// It used the default client, whose idle connections would look like leaked goroutines in every test binary.
	http.DefaultClient.CloseIdleConnections()
	if startErr == nil {
		return errors.New("the library started a server on an empty data directory, which was thought impossible")
	}
	if _, err := os.Stat(filepath.Join(unpacked, "bin", "postgres")); err != nil {
		return startErr
	}
	if err := makeReadable(unpacked); err != nil {
		return err
	}
	if err := os.Rename(unpacked, final); err != nil {
		return fmt.Errorf("moving the binaries into the cache: %w", err)
	}
	return nil
}

// makeReadable undoes a strict umask: the server's user is not the one who unpacked.
func makeReadable(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the binaries: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read from
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if d.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return root.Chmod(path, mode)
	})
	if err != nil {
		return fmt.Errorf("making the binaries readable: %w", err)
	}
	return nil
}

func cacheDir(asked string) (string, error) {
	for _, dir := range []string{asked, os.Getenv("RECOURSE_CACHE_DIR")} {
		if dir != "" {
			return filepath.Abs(dir)
		}
	}
	if os.Geteuid() == 0 {
		return "/var/cache/recourse", nil // root's home is closed to the user who runs the server
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache directory (set RECOURSE_CACHE_DIR): %w", err)
	}
	return filepath.Join(dir, "recourse"), nil
}
