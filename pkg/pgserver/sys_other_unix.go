//go:build unix && !linux

package pgserver

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// serverAttr: see sys_linux.go. Without PDEATHSIG a server outlives a killed process; the next Start says so.
func serverAttr(a *account) *syscall.SysProcAttr {
	attr := procAttr(a)
	attr.Setpgid = true
	return attr
}

// isServerOf goes by the command line, as there is no /proc to look at.
func isServerOf(pid int, dir string) bool {
	if !alive(pid) {
		return false
	}
	//nolint:noctx // a number and a constant
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), dir)
}
