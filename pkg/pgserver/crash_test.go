//go:build unix

package pgserver_test

import (
	"bufio"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
)

func TestCrash_server_killed(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := mustStart(t, pgserver.Options{DataDir: dir})
	exec(t, s, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)")

	require.NoError(t, syscall.Kill(serverPid(t, dir), syscall.SIGKILL))
	<-s.Done()
	require.FileExists(t, filepath.Join(dir, "cluster", "postmaster.pid"), "kill -9 leaves it behind")
	require.NoError(t, s.Stop(t.Context()))

	require.Equal(t, 1, one[int](t, mustStart(t, pgserver.Options{DataDir: dir}), "SELECT id FROM kept"))
}

func TestCrash_our_process_killed(t *testing.T) {
	t.Parallel()
	linuxOnly(t)
	dir := pgtest.Dir(t)
	child := osexec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)
	pid := serverPid(t, dir)

	require.ErrorContains(t, pgserver.RemoveAbandoned(dir), "in use", "a living process's directory stays")
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // "signal: killed"

	// Started at once, while the orphan is still on its way out.
	s := mustStart(t, pgserver.Options{DataDir: dir})
	require.NotEqual(t, pid, serverPid(t, dir))
	require.Equal(t, 1, one[int](t, s, "SELECT 1"))
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) },
		20*time.Second, 20*time.Millisecond, "the orphan must be gone")
}

func TestCrash_pid_of_another_process(t *testing.T) {
	t.Parallel()
	linuxOnly(t)
	dir := pgtest.Dir(t)
	s := mustStart(t, pgserver.Options{DataDir: dir})
	require.NoError(t, s.Stop(t.Context()))

	// After a reboot, or in a restarted container, the old pid is often somebody else's.
	write(t, filepath.Join(dir, "cluster", "postmaster.pid"), strconv.Itoa(os.Getpid())+"\n"+dir+"\n")
	require.Equal(t, 1, one[int](t, mustStart(t, pgserver.Options{DataDir: dir}), "SELECT 1"))
}

func TestCrash_initdb_cut_short(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	write(t, filepath.Join(dir, "lock"), "")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cluster.new"), 0o755))
	write(t, filepath.Join(dir, "cluster.new", "PG_VERSION"), "15\n")
	require.Equal(t, 1, one[int](t, mustStart(t, pgserver.Options{DataDir: dir}), "SELECT 1"))
}

func TestRemoveAbandoned(t *testing.T) {
	t.Parallel()
	dir := pgtest.Dir(t)
	s := mustStart(t, pgserver.Options{DataDir: dir})
	require.Error(t, pgserver.RemoveAbandoned(dir))
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, pgserver.RemoveAbandoned(dir))
	require.NoDirExists(t, dir)
}

func serverPid(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cluster", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return pid
}
