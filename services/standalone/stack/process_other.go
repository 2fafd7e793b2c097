//go:build !linux

package stack

import (
	"os"
	"os/exec"
)

// dieWithParent has no counterpart here: a member that is left over ends when its broker is gone.
func dieWithParent(*exec.Cmd) {}

func interrupt(p *os.Process) error { return p.Signal(os.Interrupt) }
