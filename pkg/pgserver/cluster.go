package pgserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	clusterName = "cluster"
	superuser   = "postgres"
)

// cluster is the content of a data directory; see the package comment for the files.
type cluster struct {
	conn  connection
	dir   string // PostgreSQL's own directory
	home  string // the data directory, its parent
	major int    // 0 until initdb
	owner *account
}

// connection is what a later start has to know of an earlier one.
type connection struct {
	Password string `json:"password"`
	Port     int    `json:"port"`
}

// makeDataDir makes the directory, or refuses one with other things in it: it is about to be given to another user.
func makeDataDir(dir string) error {
	// The parents stay open to others: the user who runs the server has to pass through.
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the data directory (is it another user's?): %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); len(entries) > 0 && err != nil {
		return fmt.Errorf("%s is not empty and not a data directory of this program: name an empty or a new one", dir)
	}
	return nil
}

func openCluster(home string) (*cluster, error) {
	c := &cluster{dir: filepath.Join(home, clusterName), home: home}
	version, err := os.ReadFile(filepath.Join(c.dir, "PG_VERSION"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the cluster's version (is it another user's?): %w", err)
	default:
		c.major, err = strconv.Atoi(strings.TrimSpace(string(version)))
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's version in %s: %w", c.dir, err)
		}
	}
	c.owner, err = serverAccount(c.dir)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.connectionFile())
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.major == 0:
		c.conn.Password = rand.Text()
	case err != nil:
		return nil, fmt.Errorf("reading the cluster's password: %w", err)
	default:
		if err := json.Unmarshal(text, &c.conn); err != nil {
			return nil, fmt.Errorf("reading %s: %w", c.connectionFile(), err)
		}
	}
	return c, nil
}

func (c *cluster) connectionFile() string { return filepath.Join(c.home, "connection.json") }

func (c *cluster) saveConnection() error {
	text, err := json.Marshal(c.conn) //nolint:gosec // keeping the password is what the file is for
	if err != nil {
		return fmt.Errorf("encoding the connection file: %w", err)
	}
	tmp := c.connectionFile() + ".tmp"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("writing the connection file: %w", err)
	}
	if err := chown(tmp, c.owner); err != nil {
		return err
	}
	if err := os.Rename(tmp, c.connectionFile()); err != nil {
		return fmt.Errorf("writing the connection file: %w", err)
	}
	return nil
}

// prepare makes the data directory ready for a server: owned, reachable, initialised, and without another server.
func (c *cluster) prepare(ctx context.Context, bin binaries, o Options) error {
	if err := chown(c.home, c.owner); err != nil {
		return err
	}
	if err := checkReach(ctx, bin, c.owner, c.home); err != nil {
		return err
	}
	if c.major != 0 {
		return c.clearStale(ctx)
	}
	if err := c.saveConnection(); err != nil {
		return err
	}
	return c.initialise(ctx, bin, o)
}

// initialise runs initdb beside the final place and renames at the end: a cluster directory is a whole one or absent,
// whatever kills us in between.
func (c *cluster) initialise(ctx context.Context, bin binaries, o Options) error {
	half := c.dir + ".new"
	if err := os.RemoveAll(half); err != nil {
		return fmt.Errorf("removing a half-made cluster: %w", err)
	}
	pwfile := filepath.Join(c.home, "password.tmp")
	if err := os.WriteFile(pwfile, []byte(c.conn.Password), 0o600); err != nil {
		return fmt.Errorf("writing the password for initdb: %w", err)
	}
	defer os.Remove(pwfile) //nolint:errcheck // connection.json holds the same, as well protected
	if err := chown(pwfile, c.owner); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + half, "--username=" + superuser, "--pwfile=" + pwfile, "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions",
	}
	if o.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, bin.path("initdb"), args...) //nolint:gosec // inspected before
	cmd.Dir = c.home
	cmd.Env = serverEnv()
	cmd.SysProcAttr = procAttr(c.owner)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a cluster with initdb in %s: %w", c.home, errors.Join(err, textError(out)))
	}
	if err := os.Rename(half, c.dir); err != nil {
		return fmt.Errorf("moving the new cluster into place: %w", err)
	}
	c.major = bin.major
	return nil
}

// serverEnv is all the server and initdb see of our environment: a PGOPTIONS or PGDATA of the caller must not reach
// them.
func serverEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not block
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // we asked for tcp
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	return port, nil
}

func portIsFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // does not block
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// textError makes the last lines of a program's output an error, as what it said is mostly the reason.
func textError(out []byte) error {
	const keep = 2000
	text := strings.TrimSpace(string(out))
	if text == "" {
		return nil
	}
	if len(text) > keep {
		text = "..." + text[len(text)-keep:]
	}
	return errors.New(text)
}

// RemoveAbandoned removes a data directory that no living process holds, such as a test's that was killed. A directory
// in use, or one that is not this package's, stays and is an error.
func RemoveAbandoned(dataDir string) error {
	if _, err := os.Stat(filepath.Join(dataDir, "lock")); err != nil {
		return fmt.Errorf("looking for the lock of %s: %w", dataDir, err)
	}
	lock, err := lockFile(filepath.Join(dataDir, "lock"))
	if err != nil {
		return fmt.Errorf("the data directory %s: %w", dataDir, err)
	}
	defer lock.Close() //nolint:errcheck // the file is removed below
	c := &cluster{dir: filepath.Join(dataDir, clusterName)}
	if pid, _, err := c.readPidFile(); err == nil && isServerOf(pid, c.dir) {
		return fmt.Errorf("a server with process id %d still runs on %s", pid, dataDir)
	}
	if err := os.RemoveAll(dataDir); err != nil {
		return fmt.Errorf("removing an abandoned data directory: %w", err)
	}
	return nil
}
