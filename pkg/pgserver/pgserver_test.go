package pgserver_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
)

func TestStart_Own(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := mustStart(t, pgserver.Options{DataDir: dir})
	require.NotEmpty(t, s.Source())
	require.Equal(t, dir, s.DataDir())
	pidFile, err := os.ReadFile(filepath.Join(dir, "cluster", "postmaster.pid"))
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(s.PID()), strings.Split(string(pidFile), "\n")[0])
	exec(t, s, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (42)")
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit", "data_checksums"} {
		require.Equal(t, "on", one[string](t, s, "SELECT current_setting('"+setting+"')"), setting)
	}
	require.Equal(t, s.Version(), strings.Fields(one[string](t, s, "SELECT current_setting('server_version')"))[0])

	_, err = pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
	require.ErrorContains(t, err, "is in use by another process", "a second process must not share the directory")

	url := s.URL("")
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "stopping twice")
	<-s.Done()

	s = mustStart(t, pgserver.Options{DataDir: dir})
	require.Equal(t, url, s.URL(""), "port and password survive a restart")
	require.Equal(t, 42, one[int](t, s, "SELECT id FROM kept"))
}

func TestStart_Own_refused(t *testing.T) {
	t.Parallel()

	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		s := mustStart(t, pgserver.Options{DataDir: pgtest.Dir(t)})
		u, err := url.Parse(s.URL("postgres"))
		require.NoError(t, err)
		u.User = url.UserPassword("postgres", "guessed")
		_, err = pgx.Connect(t.Context(), u.String())
		require.ErrorContains(t, err, "28P01", "other users of this machine must not get in")
	})
	t.Run("cluster of a version without binaries", func(t *testing.T) {
		t.Parallel()
		dir := pgtest.Dir(t)
		require.NoError(t, os.Mkdir(filepath.Join(dir, "cluster"), 0o755))
		write(t, filepath.Join(dir, "cluster", "PG_VERSION"), "14\n")
		write(t, filepath.Join(dir, "connection.json"), `{"password":"x","port":1}`)
		write(t, filepath.Join(dir, "lock"), "")
		_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
		require.ErrorContains(t, err, "was made by PostgreSQL 14")
		require.ErrorContains(t, err, "install PostgreSQL 14")
	})
	t.Run("somebody's folder", func(t *testing.T) {
		t.Parallel()
		dir := pgtest.Dir(t)
		write(t, filepath.Join(dir, "thesis.txt"), "years of work")
		_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
		require.ErrorContains(t, err, "is not empty and not a data directory")
		require.Error(t, pgserver.RemoveAbandoned(dir))
		require.FileExists(t, filepath.Join(dir, "thesis.txt"))
	})
	t.Run("no directory", func(t *testing.T) {
		t.Parallel()
		_, err := pgserver.Start(t.Context(), pgserver.Options{})
		require.ErrorContains(t, err, "needs a data directory")
	})
	t.Run("unknown version", func(t *testing.T) {
		t.Parallel()
		_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: pgtest.Dir(t), Version: "9"})
		require.ErrorContains(t, err, `version "9" is unknown`)
	})
	t.Run("bad setting", func(t *testing.T) {
		t.Parallel()
		_, err := pgserver.Start(t.Context(), pgserver.Options{
			DataDir: pgtest.Dir(t), Settings: map[string]string{"shared_buffers": "lots"},
		})
		require.ErrorContains(t, err, "shared_buffers", "the server's own words must be in the error")
	})
}

// Not parallel: it changes the environment.
func TestStart_Own_named_binaries_unusable(t *testing.T) {
	t.Setenv("RECOURSE_PG_BIN", t.TempDir())
	_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: pgtest.Dir(t)})
	require.ErrorContains(t, err, "RECOURSE_PG_BIN")
}

func TestStart_Own_unreachable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root has to hand its folders to another user")
	}
	home := filepath.Join(pgtest.Dir(t), "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: filepath.Join(home, "data")})
	require.ErrorContains(t, err, "chmod o+x "+home)

	dir, err := pgserver.DefaultDataDir(home)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(dir, "/var/lib/recourse/"), dir)
	again, err := pgserver.DefaultDataDir(home)
	require.NoError(t, err)
	require.Equal(t, dir, again)

	require.NoError(t, os.Chmod(home, 0o755))
	dir, err = pgserver.DefaultDataDir(home)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(home, "postgres"), dir)
}

func TestStart_Given(t *testing.T) {
	t.Parallel()
	own := mustStart(t, pgserver.Options{DataDir: pgtest.Dir(t)})

	given, err := pgserver.Start(t.Context(), pgserver.Options{URL: own.URL("template1")})
	require.NoError(t, err)
	require.Equal(t, own.Version(), given.Version())
	require.Equal(t, own.URL("template1"), given.URL(""))
	require.Equal(t, own.URL("other"), given.URL("other"))
	require.NotContains(t, given.Source(), passwordOf(t, own.URL("")), "the source is shown to people")
	require.Nil(t, given.Done())
	require.NoError(t, given.Stop(t.Context()))
	require.Equal(t, 1, one[int](t, own, "SELECT 1"), "a given server is not ours to stop")

	_, err = pgserver.Start(t.Context(), pgserver.Options{URL: "host=localhost password=secret"})
	require.ErrorContains(t, err, "postgres://user:password@host:5432/database")
	require.NotContains(t, err.Error(), "secret")

	require.NoError(t, own.Stop(t.Context()))
	_, err = pgserver.Start(t.Context(), pgserver.Options{URL: own.URL("")})
	require.ErrorContains(t, err, "connecting to the given database server")
	require.NotContains(t, err.Error(), passwordOf(t, own.URL("")))
}

func TestStop_Immediate(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
	require.NoError(t, err)
	exec(t, s, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil { // it may win the race and stop well
		require.ErrorContains(t, err, "was made to quit")
	}
	<-s.Done()
	require.Equal(t, 1, one[int](t, mustStart(t, pgserver.Options{DataDir: dir}), "SELECT id FROM kept"))
}

func TestNewest(t *testing.T) {
	t.Parallel()
	if os.Getenv("RECOURSE_TEST_NEWEST_PG") != "1" {
		t.Skip("downloads about 15 MB: set RECOURSE_TEST_NEWEST_PG=1 to run it, as .ci/run does")
	}
	cache := filepath.Join(pgtest.Dir(t), "cache") // empty, so that it downloads
	dir := pgtest.Dir(t)
	o := pgserver.Options{CacheDir: cache, DataDir: dir, Version: pgserver.Newest}
	s := mustStart(t, o)
	require.True(t, strings.HasPrefix(s.Version(), strconv.Itoa(pgserver.NewestMajor())+"."), s.Version())
	require.Contains(t, s.Source(), "embedded-postgres binaries in "+cache)
	exec(t, s, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (18)")
	require.NoError(t, s.Stop(t.Context()))

	left, err := filepath.Glob(filepath.Join(cache, "download-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the scratch folder is removed")

	o.Version = "" // local binaries of another version must be passed over for the ones that made the cluster
	require.Equal(t, 18, one[int](t, mustStart(t, o), "SELECT id FROM kept"))
}

func TestNewest_cluster_of_older_version(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cluster"), 0o755))
	write(t, filepath.Join(dir, "cluster", "PG_VERSION"), "15\n")
	write(t, filepath.Join(dir, "connection.json"), `{"password":"x","port":1}`)
	write(t, filepath.Join(dir, "lock"), "")
	_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir, Version: pgserver.Newest})
	require.ErrorContains(t, err, "was made by PostgreSQL 15, but the newest embedded release is")
}

func mustStart(t *testing.T, o pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, s.Stop(ctx))
	})
	return s
}

func mustConnect(t *testing.T, s *pgserver.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	require.NoError(t, err)
	return conn
}

func exec(t *testing.T, s *pgserver.Server, statements ...string) {
	t.Helper()
	conn := mustConnect(t, s)
	for _, sql := range statements {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close(t.Context()))
}

func one[T any](t *testing.T, s *pgserver.Server, sql string) T {
	t.Helper()
	conn := mustConnect(t, s)
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	return value
}

func passwordOf(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	password, ok := u.User.Password()
	require.True(t, ok)
	return password
}

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

func linuxOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs PDEATHSIG and /proc")
	}
}
