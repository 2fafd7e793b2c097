package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/pgserver"
)

// diskSize is what the cluster may take; a run of 20,000 sagas takes about a tenth of it, its write-ahead log apart.
const diskSize = 3 << 30

// database is a PostgreSQL cluster of our own, which is started again whenever it has ended, as a service manager
// would.
type database struct {
	options pgserver.Options
	// mount is the file system that can be filled; empty where we may not mount one.
	mount string
	say   func(format string, args ...any)

	mu     sync.Mutex
	server *pgserver.Server
	// held is set while a fault wants it down.
	held bool
	// starts counts how often it was started.
	starts int
}

func newDatabase(dir, addr string, log *slog.Logger, say func(string, ...any)) (*database, error) {
	d := &database{say: say}
	home, err := pgserver.DefaultDataDir(dir)
	if err != nil {
		return nil, err
	}
	parent := filepath.Dir(home)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("making the database's directory: %w", err)
	}
	mount := filepath.Join(parent, "disk")
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return nil, fmt.Errorf("making the database's directory: %w", err)
	}
	if err := mountSmall(mount, diskSize); err == nil {
		d.mount = mount
		home = filepath.Join(mount, "postgres")
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	d.options = pgserver.Options{
		DataDir: home, Port: number, Log: log,
		Settings: map[string]string{"max_wal_size": "512MB", "wal_recycle": "off", "checkpoint_timeout": "60s"},
	}
	return d, nil
}

func (d *database) start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.startLocked(ctx)
}

func (d *database) startLocked(ctx context.Context) error {
	if d.server != nil {
		stopping, cancel := context.WithTimeout(ctx, 10*time.Second)
		_ = d.server.Stop(stopping) // it is gone; this gives its lock back
		cancel()
	}
	server, err := pgserver.Start(ctx, d.options)
	if err != nil {
		return err
	}
	d.server = server
	d.starts++
	return nil
}

// supervise starts the server again until ctx ends.
func (d *database) supervise(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		d.mu.Lock()
		if !d.held && !d.runningLocked() {
			if err := d.startLocked(ctx); err != nil && ctx.Err() == nil {
				d.say("PostgreSQL did not start, trying again: %s", firstLine(err))
			}
		}
		d.mu.Unlock()
	}
}

func (d *database) runningLocked() bool {
	if d.server == nil {
		return false
	}
	select {
	case <-d.server.Done():
		return false
	default:
		return true
	}
}

// stop ends it for good.
func (d *database) stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = true
	var err error
	if d.server != nil {
		err = d.server.Stop(ctx)
	}
	if d.mount != "" {
		err = errors.Join(err, unmount(d.mount))
	}
	return err
}

func (d *database) url(database string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server.URL(database)
}

// through is the URL of a database by way of another address.
func (d *database) through(addr, database string) (string, error) {
	u, err := url.Parse(d.url(database))
	if err != nil {
		return "", err
	}
	u.Host = addr
	return u.String(), nil
}

func (d *database) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(d.options.DataDir, "cluster", "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("finding PostgreSQL's process: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}

// kill ends the postmaster and all its children at once, and keeps the server down until release.
func (d *database) kill(ctx context.Context) error {
	return d.end(ctx, func(pid int) {
		list := children(pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for _, child := range list {
			_ = syscall.Kill(child, syscall.SIGKILL)
		}
	})
}

// signal reaches the postmaster and all its children.
func (d *database) signal(sig syscall.Signal) error {
	pid, err := d.pid()
	if err != nil {
		return err
	}
	for _, p := range append([]int{pid}, children(pid)...) {
		if err := syscall.Kill(p, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("sending %s to PostgreSQL: %w", sig, err)
		}
	}
	return nil
}

// quit is an immediate shutdown.
func (d *database) quit(ctx context.Context) error {
	return d.end(ctx, func(pid int) { _ = syscall.Kill(pid, immediate) })
}

func (d *database) end(ctx context.Context, how func(pid int)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.runningLocked() {
		return errors.New("PostgreSQL does not run")
	}
	pid, err := d.pid()
	if err != nil {
		return err
	}
	d.held = true
	how(pid)
	select {
	case <-d.server.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return errors.New("PostgreSQL did not end")
	}
}

// release lets the supervisor start it again.
func (d *database) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = false
}

// exec runs statements as an administrator, each in a transaction of its own, past every proxy.
func (d *database) exec(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	config, err := pgx.ParseConfig(d.url("postgres"))
	if err != nil {
		return err
	}
	config.RuntimeParams["default_transaction_read_only"] = "off"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("reaching PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be said
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// fillDisk leaves no space; free gives it back. Where we have no disk of our own to fill, the processes of the server
// may not write beyond the beginning of a file.
func (d *database) fillDisk() error {
	if d.mount != "" {
		return fill(d.ballast())
	}
	return d.limit(1 << 20)
}

func (d *database) freeDisk() error {
	if d.mount != "" {
		if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return d.limit(-1)
}

func (d *database) ballast() string { return filepath.Join(d.mount, "ballast") }

func (d *database) limit(bytes int64) error {
	pid, err := d.pid()
	if err != nil {
		return nil //nolint:nilerr // it is down; the next one begins without a limit
	}
	for _, p := range append(children(pid), pid) {
		if err := limitFileSize(p, bytes); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("limiting the files of PostgreSQL: %w", err)
		}
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
