package stack

import (
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent keeps no member alive when this process is killed. To the kernel the parent is the thread that started
// it, so that thread must outlive the member.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

func interrupt(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
