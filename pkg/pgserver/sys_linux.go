package pgserver

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// serverAttr puts the server in a process group of its own, so that Ctrl-C in a terminal reaches us and not the server
// before our services have drained, and has the kernel stop it when our process dies (see startProcess).
func serverAttr(a *account) *syscall.SysProcAttr {
	attr := procAttr(a)
	attr.Setpgid = true
	attr.Pdeathsig = fastShutdown
	return attr
}

// isServerOf tells whether pid is a PostgreSQL server on dir. A server's working directory is its cluster, which tells
// it from a process that got the same pid later.
func isServerOf(pid int, dir string) bool {
	if !alive(pid) {
		return false
	}
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return err == nil && cwd == dir
}
