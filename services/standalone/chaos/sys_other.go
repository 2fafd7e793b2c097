//go:build !linux

package chaos

import (
	"errors"
	"os/exec"
	"syscall"
)

const (
	freeze    = syscall.SIGTERM
	thaw      = syscall.SIGTERM
	immediate = syscall.SIGQUIT
)

var errLinuxOnly = errors.New("chaos runs on Linux only")

func dieWithParent(*exec.Cmd) {}

func children(int) []int { return nil }

func mountSmall(string, int64) error { return errLinuxOnly }

func unmount(string) error { return errLinuxOnly }

func fill(string) error { return errLinuxOnly }

func limitFileSize(int, int64) error { return errLinuxOnly }
