package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// pollEvery is how often postmaster.pid is looked at; the file is how a server says that it is ready.
	pollEvery = 10 * time.Millisecond

	// orphanPatience covers a server that the kernel has just told to stop because its process died.
	orphanPatience = 15 * time.Second

	// quitPatience is what an immediate shutdown may take before the process is killed.
	quitPatience = 5 * time.Second

	maxLogSize = 16 << 20
)

// ourSettings are given on the command line, where neither postgresql.conf nor ALTER SYSTEM can undo them.
func ourSettings() map[string]string {
	return map[string]string{
		"fsync":                   "on",
		"full_page_writes":        "on",
		"jit":                     "off", // our statements are short; compiling them costs more than it saves
		"listen_addresses":        "127.0.0.1",
		"log_checkpoints":         "off",
		"log_timezone":            "UTC",
		"max_connections":         "300",
		"max_wal_size":            "4GB",
		"shared_buffers":          "256MB",
		"synchronous_commit":      "on",
		"timezone":                "UTC",
		"unix_socket_directories": "", // paths may be too long, and a socket in a shared folder serves others
	}
}

// process is a postmaster that we started.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone; then err may be read
	err    error
}

// launch starts the server and waits until it takes connections. A port that somebody takes between our look and the
// server's bind is a race that nobody can close, so another one is tried.
func (c *cluster) launch(ctx context.Context, bin binaries, o Options) (*process, error) {
	for try := 0; ; try++ {
		if err := c.choosePort(o.Port, try); err != nil {
			return nil, err
		}
		p, logged, err := c.launchOnce(ctx, bin, o)
		if err == nil {
			return p, nil
		}
		taken := bytes.Contains(logged, []byte("could not bind")) && o.Port == 0
		// After kill -9 of the server its children need a moment to notice; they hold the shared memory until then.
		inUse := bytes.Contains(logged, []byte("still in use"))
		if (!taken && !inUse) || try == 5 || ctx.Err() != nil {
			return nil, fmt.Errorf("starting PostgreSQL %s in %s: %w", bin.version, c.dir, err)
		}
		if inUse {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (c *cluster) choosePort(asked, try int) error {
	switch {
	case asked != 0:
		c.conn.Port = asked
	case try == 0 && c.conn.Port != 0 && portIsFree(c.conn.Port):
	default:
		port, err := freePort()
		if err != nil {
			return err
		}
		c.conn.Port = port
	}
	return c.saveConnection()
}

func (c *cluster) launchOnce(ctx context.Context, bin binaries, o Options) (_ *process, logged []byte, _ error) {
	log, from, err := c.openLog()
	if err != nil {
		return nil, nil, err
	}
	defer log.Close() //nolint:errcheck // the server has its own descriptor, we do not write

	settings := ourSettings()
	maps.Copy(settings, o.Settings)
	args := []string{"-D", c.dir, "-p", strconv.Itoa(c.conn.Port)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	cmd := exec.Command(bin.path("postgres"), args...) //nolint:gosec,noctx // outlives ctx
	cmd.Dir = c.home
	cmd.Env = serverEnv()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = serverAttr(c.owner)
	p, err := startProcess(cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("running %s: %w", bin.path("postgres"), err)
	}
	err = c.awaitReady(ctx, p)
	if err == nil {
		return p, nil, nil
	}
	if text, rerr := os.ReadFile(log.Name()); rerr == nil && int64(len(text)) >= from {
		logged = text[from:]
	}
	return nil, logged, errors.Join(err, textError(logged))
}

// startProcess starts cmd on a thread of its own and keeps that thread until the process has ended.
//
// Why: serverAttr asks the kernel to signal the server when its parent dies (PDEATHSIG), and the kernel means the
// parent THREAD. Go moves goroutines between threads and ends a thread when a goroutine that locked itself to it
// returns. So: we start the server on thread T, our goroutine moves on, later some library's goroutine locks itself to
// T and returns, T ends, and the server shuts down under a healthy process. A locked goroutine that waits for the
// server cannot lose its thread before the server ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	return p, <-started
}

// awaitReady watches the last line of postmaster.pid, the same sign that pg_ctl -w goes by.
func (c *cluster) awaitReady(ctx context.Context, p *process) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended while starting: %w", cmpErr(p.err))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for the server: %w", context.Cause(ctx)), p.stop(ctx))
		case <-ticker.C:
			if pid, status, err := c.readPidFile(); err == nil && pid == p.cmd.Process.Pid && status == "ready" {
				return nil
			}
		}
	}
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// readPidFile reads pid (first line) and status (eighth, padded with blanks) of the server that owns the cluster.
func (c *cluster) readPidFile() (pid int, status string, _ error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "postmaster.pid"))
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(string(text), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return 0, "", fmt.Errorf("reading postmaster.pid: %w", err)
	}
	if len(lines) > 7 {
		status = strings.TrimSpace(lines[7])
	}
	return pid, status, nil
}

// clearStale deals with a postmaster.pid that is there before we started anything. We hold the data directory's lock,
// so the process that started that server is dead. Three cases: the server is just following it (wait); the pid is
// nobody's or, after a reboot, somebody else's (remove the file, since PostgreSQL would only look whether the pid is
// in use); the server lives on (refuse: a person started it by hand, or the system has no PDEATHSIG).
func (c *cluster) clearStale(ctx context.Context) error {
	ticker := time.NewTicker(10 * pollEvery)
	defer ticker.Stop()
	deadline := time.Now().Add(orphanPatience)
	for {
		pid, _, err := c.readPidFile()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && isServerOf(pid, c.dir) {
			if time.Now().After(deadline) {
				return fmt.Errorf("a PostgreSQL server that this program did not start is running on %s with process "+
					"id %d: stop it (kill -INT %d) or choose another data directory", c.dir, pid, pid)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for the server with process id %d to end: %w", pid, context.Cause(ctx))
			case <-ticker.C:
				continue
			}
		}
		if err := os.Remove(filepath.Join(c.dir, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a stale postmaster.pid: %w", err)
		}
		return nil
	}
}

func (c *cluster) openLog() (_ *os.File, size int64, _ error) {
	name := filepath.Join(c.home, "server.log")
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogSize {
		if err := os.Rename(name, name+".old"); err != nil {
			return nil, 0, fmt.Errorf("rotating the server's log: %w", err)
		}
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the server's log: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = chown(name, c.owner)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("opening the server's log: %w", err), f.Close())
	}
	return f, info.Size(), nil
}

// stop: fast shutdown, then an immediate one when ctx ends, then kill. All three leave data that the next start
// recovers; they differ in how long that takes.
func (p *process) stop(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(fastShutdown); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("telling the server to stop: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
	}
	if err := p.cmd.Process.Signal(immediateShutdown); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("telling the server to quit: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(quitPatience):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("killing the server: %w", err)
		}
		<-p.exited
	}
	return fmt.Errorf("the server did not stop in time and was made to quit: %w", context.Cause(ctx))
}
