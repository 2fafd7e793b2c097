//go:build crashpoints && unix

package crash

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// stall stops the process. A child wakes it: who stands still cannot wake himself.
func stall(length time.Duration) {
	pid := syscall.Getpid()
	wake := exec.Command("/bin/sh", "-c", fmt.Sprintf("sleep %.3f; kill -CONT %d", length.Seconds(), pid))
	if err := wake.Start(); err != nil {
		panic(err)
	}
	begin := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		panic(err)
	}
	// The signal may reach this thread a moment later than the call returns; no line after the point may run before.
	for time.Since(begin) < length {
		time.Sleep(time.Millisecond)
	}
	_ = wake.Wait()
}
