// Package crash names the lines at which a test strikes a process, and says how.
//
// The promise of the whole system is that a process may die, stand still or be misled between any two lines, and
// nothing is lost or done twice. That promise is only worth something if it is tried on every line, so the lines have
// names:
//
//	if err := crash.Fail(crash.WorkerAfterCommit); err != nil {
//		return err
//	}
//
// In a normal build Fail returns a constant nil, and the compiler drops the line. Built with `-tags crashpoints`, the
// process reads at its start
//
//	RECOURSE_CRASH=worker.after_commit:3:stall=5s
//
// and is struck when it comes to that point for the third time: see Mode. Several settings are separated by commas.
// RECOURSE_CRASH_FILE=path names a file with settings, one a line, to which more may be added while the process runs;
// what was struck is written to path.struck, a line each. A setting that means nothing ends the process at once, so
// that a misspelt point cannot pass for a survived strike. Tests inside one process use Arm instead.
package crash

import (
	"errors"
	"fmt"
	"io"
)

const (
	// EnvVar is read once, at the start of a process that was built with the tag crashpoints.
	EnvVar = "RECOURSE_CRASH"
	// FileVar names a file of settings that such a process follows.
	FileVar = "RECOURSE_CRASH_FILE"
	// Struck is added to the name of that file to get the one of strikes.
	Struck = ".struck"
)

// ExitCode is what a process that was killed with SIGKILL reports in a shell.
const ExitCode = 137

// Mode is what happens at a point.
type Mode string

const (
	// Exit ends the process at once, as kill -9 does: no deferred call runs, nothing is flushed.
	Exit Mode = "exit"
	// Panic panics in the goroutine that came to the point.
	Panic Mode = "panic"
	// Stall lets the whole process stand still on that line for a while, 15 s if nothing is said, as SIGSTOP does: its
	// sessions and leases end, others take over, and then it goes on in the belief that nothing has happened.
	Stall Mode = "stall"
	// Error tells the caller that the operation before the point failed, which has succeeded.
	Error Mode = "error"
)

// Modes lists all of them.
func Modes() []Mode { return []Mode{Exit, Panic, Stall, Error} }

// Lie is the error of mode Error. It looks like a connection that was lost before the answer came.
type Lie struct{ Point Name }

func (l *Lie) Error() string { return fmt.Sprintf("crash point %s: %v", l.Point, io.ErrUnexpectedEOF) }

// Unwrap makes it an error that loops try again after.
func (l *Lie) Unwrap() error { return io.ErrUnexpectedEOF }

// ErrDisabled says that this build has no crash points.
var ErrDisabled = errors.New("crash points are not built in: build with -tags crashpoints")
