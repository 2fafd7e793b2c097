package pgserver

import (
	"context"
	"errors"
	"syscall"
)

// On Windows only a given URL is supported: the fast shutdown, the file lock and the change of user are Unix's.

const (
	fastShutdown      = syscall.SIGINT
	immediateShutdown = syscall.SIGQUIT
)

var errWindows = errors.New("PostgreSQL is not started on Windows by this program: give the URL of a running server")

type fileLock struct{}

func (*fileLock) Close() error { return nil }

func lockFile(string) (*fileLock, error) { return nil, errWindows }

func waitLockFile(context.Context, string) (*fileLock, error) { return nil, errWindows }

func procAttr(*account) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func serverAttr(*account) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func chown(string, *account) error { return errWindows }

func ownerOf(string) (uid, gid int, _ error) { return 0, 0, errWindows }

func isServerOf(int, string) bool { return false }
