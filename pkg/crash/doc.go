// Package crash names the lines of a batch at which a test kills the process.
//
// The promise of the whole system is that a process may die between any two lines and nothing is lost or done twice.
// That promise is only worth something if it is tried on every line, so the lines have names:
//
//	crash.Point(crash.WorkerAfterCommit)
//
// In a normal build Point is empty and inlined to nothing. Built with `-tags crashpoints`, the process reads
//
//	RECOURSE_CRASH=worker.after_commit:3
//
// at its start and ends with status 137 (what kill -9 looks like from outside) when it comes to that point for the
// third time: no deferred call runs, nothing is flushed. A name that is not in the list ends the process at once, so
// that a misspelt point cannot pass for a survived crash. Tests inside one process use Arm instead.
package crash

import "errors"

// EnvVar is read once, at the start of a process that was built with the tag crashpoints.
const EnvVar = "RECOURSE_CRASH"

// ExitCode is what a process that was killed with SIGKILL reports in a shell.
const ExitCode = 137

// ErrDisabled says that this build has no crash points.
var ErrDisabled = errors.New("crash points are not built in: build with -tags crashpoints")
