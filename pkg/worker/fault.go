package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/jackc/pgx/v5"

	"recourse.dev/pkg/deadletter"
	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/worker/internal/halt"
)

// fault is an error that the commands of a batch, or the code that handles them, are to blame for.
type fault struct {
	reason deadletter.Reason
	err    error
}

func (f *fault) Error() string { return f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

// blame says whether a failed batch should be taken apart to find a culprit, and what the culprit is parked for.
// A database that is away, or whose schema is not the one that this build needs, is nobody's fault: the batch waits.
func blame(err error) (deadletter.Reason, bool) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pg.IsTransient(err) {
		return "", false
	}
	if code := pg.Code(err); code != "" {
		return deadletter.HandlerRefused, strings.HasPrefix(code, "22") || // a value that the database refuses
			strings.HasPrefix(code, "23") || // a constraint
			strings.HasPrefix(code, "P0") || // a trigger
			code == "25P02" // the handler swallowed an error of the database and went on
	}
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return deadletter.HandlerRefused, true
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f.reason, true
	}
	return "", false
}

// contended says that other transactions were in the way, so that smaller ones may get through.
func contended(err error) bool {
	code := pg.Code(err)
	return code == pg.SerializationFailure || code == pg.DeadlockDetected
}

// lostRace says that another owner of the partition may have inserted a row that this batch found absent.
func lostRace(err error) bool { return pg.Code(err) == pg.UniqueViolation }

// guard runs domain code: a panic and a missing outcome are faults, and so is an error that is not the database's.
func guard(name string, commands int, domain func() ([]Outcome, error)) (outcomes []Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if halted, ok := cause.(halt.Halted); ok {
				panic(halted)
			}
			err = &fault{deadletter.HandlerPanic, fmt.Errorf("handling %s: panic: %v\n%s", name, cause, debug.Stack())}
		}
	}()
	outcomes, err = domain()
	if err != nil {
		return nil, &fault{deadletter.HandlerRefused, fmt.Errorf("handling %s: %w", name, err)}
	}
	if len(outcomes) != commands {
		return nil, &fault{deadletter.HandlerPanic, fmt.Errorf(
			"handling %s: the handler returned %d outcomes for %d commands", name, len(outcomes), commands)}
	}
	return outcomes, nil
}
