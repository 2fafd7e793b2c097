package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"
)

// MinMajor is the oldest PostgreSQL that the migrations and queries are written for.
const MinMajor = 15

// Newest as Options.Version asks for the newest release that embedded-postgres offers, whatever is installed here.
const Newest = "newest"

const startTimeout = 2 * time.Minute

// Options says which server is wanted. The zero value plus a DataDir is a durable server on a free loopback port.
type Options struct {
	// URL of a server that runs already (postgres://...). When set, nothing is started and the rest is ignored.
	URL string

	// DataDir keeps the cluster. It is made when missing. Required without URL.
	DataDir string

	// Version is "" for any version from MinMajor on, or Newest.
	Version string

	// Port on 127.0.0.1. 0 takes the port of the last start if it is free, else any free one.
	Port int

	// CacheDir keeps downloaded binaries. Default: RECOURSE_CACHE_DIR, else see the package comment.
	CacheDir string

	// Settings are server settings (as in postgresql.conf) that override ours. Tests only: a product that turned
	// fsync off here would lose acknowledged orders, and pg.CheckDurable would refuse it at start.
	Settings map[string]string

	Log *slog.Logger
}

// Server is a running PostgreSQL, ours or a given one.
type Server struct {
	base    *url.URL
	dataDir string
	lock    *fileLock
	log     *slog.Logger
	proc    *process
	source  string
	stopped sync.Once
	stopErr error
	version string
}

// Start finds or starts a server and returns when it takes connections. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.URL != "" {
		return useURL(ctx, o)
	}
	if o.Version != "" && o.Version != Newest {
		return nil, fmt.Errorf("postgres version %q is unknown: use %q or nothing", o.Version, Newest)
	}
	if o.DataDir == "" {
		return nil, errors.New("a postgres server needs a data directory (or the URL of a running server)")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}
	o.DataDir = dir
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("the data directory %s: %w; stop the other process or choose another directory", dir, err)
	}
	s, err := startOwn(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	o.Log.InfoContext(ctx, "postgres started",
		slog.String("source", s.source), slog.String("version", s.version),
		slog.String("addr", s.base.Host), slog.String("data_dir", dir))
	return s, nil
}

// startOwn runs with the data directory's lock held.
func startOwn(ctx context.Context, o Options) (*Server, error) {
	c, err := openCluster(o.DataDir)
	if err != nil {
		return nil, err
	}
	bin, err := chooseBinaries(ctx, o, c.major)
	if err != nil {
		return nil, err
	}
	// From here on nothing depends on a network: a download may take as long as the caller's ctx lets it.
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.prepare(ctx, bin, o); err != nil {
		return nil, err
	}
	proc, err := c.launch(ctx, bin, o)
	if err != nil {
		return nil, err
	}
	base := &url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, c.conn.Password),
		Host:     fmt.Sprintf("127.0.0.1:%d", c.conn.Port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return &Server{
		base: base, dataDir: o.DataDir, log: o.Log, proc: proc, source: bin.source, version: bin.version,
	}, nil
}

// DataDir is where our own server keeps its cluster, empty for a given one.
func (s *Server) DataDir() string { return s.dataDir }

// PID is the process id of our own server, the parent of all its processes; 0 for a given one.
func (s *Server) PID() int {
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Done is closed when our own server has ended, by Stop or by itself. It stays open for a given server.
func (s *Server) Done() <-chan struct{} {
	if s.proc == nil {
		return nil
	}
	return s.proc.exited
}

// Source says in words which of the three ways was taken, for logs and the first screen of `recourse dev`.
func (s *Server) Source() string { return s.source }

// URL is the connection URL for one database of the server, with the superuser of our own server or the user of the
// given URL. An empty name means the database of the given URL, or "postgres".
func (s *Server) URL(database string) string {
	u := *s.base
	if database != "" {
		u.Path = "/" + database
	}
	return u.String()
}

// Version is the server's version, such as "15.18".
func (s *Server) Version() string { return s.version }

// Stop ends our own server by a fast shutdown and returns when it is gone; a given server is left alone. When ctx ends
// first the server is told to quit at once, which is as safe as a crash: the next start recovers. Stop may be called
// more than once.
func (s *Server) Stop(ctx context.Context) error {
	if s.proc == nil {
		return nil
	}
	s.stopped.Do(func() {
		s.stopErr = errors.Join(s.proc.stop(ctx), s.lock.Close())
		s.log.Info("postgres stopped", slog.String("data_dir", s.dataDir))
	})
	return s.stopErr
}
