//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	fastShutdown      = syscall.SIGINT
	immediateShutdown = syscall.SIGQUIT
)

// fileLock is an flock: the kernel lets go of it when the process dies, so it is never stale.
type fileLock struct{ file *os.File }

var errLocked = errors.New("is in use by another process")

func lockFile(name string) (*fileLock, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening its lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return &fileLock{f}, nil
}

func waitLockFile(ctx context.Context, name string) (*fileLock, error) {
	ticker := time.NewTicker(10 * pollEvery)
	defer ticker.Stop()
	for {
		lock, err := lockFile(name)
		if err == nil || !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Close releases the lock; a second call does nothing. It unlocks first: a process that is just being forked elsewhere
// in this program has a copy of the descriptor until it executes, and a mere close would leave the lock with that copy.
func (l *fileLock) Close() error {
	_ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) // fails only after Close
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// procAttr runs a helper program as a, which may be nil.
func procAttr(a *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

func chown(path string, a *account) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("giving %s to the user %s: %w", path, a.name, err)
	}
	return nil
}

func ownerOf(path string) (uid, gid int, _ error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("the owner of %s is not known", path)
	}
	return int(st.Uid), int(st.Gid), nil
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
