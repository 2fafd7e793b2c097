package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// SQLSTATE codes that callers of this package branch on.
const (
	CheckViolation       = "23514"
	DeadlockDetected     = "40P01"
	DuplicateDatabase    = "42P04"
	ExclusionViolation   = "23P01"
	ForeignKeyViolation  = "23503"
	SerializationFailure = "40001"
	UniqueViolation      = "23505"
)

// Code is the SQLSTATE of err, or "" when the server said nothing.
func Code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// Constraint is the name of the constraint that err is about, or "".
func Constraint(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.ConstraintName
	}
	return ""
}

func isConflict(err error) bool {
	code := Code(err)
	return code == SerializationFailure || code == DeadlockDetected
}

// IsTransient tells whether the same work may succeed later, unchanged: the server is away, starting, full, failing
// over (a primary that has become read-only), overloaded, or we are being stopped. Loops pause and try again on it;
// they must never hold it against the record in hand.
//
// Failing to get a connection is transient whatever the reason, a wrong password included: it says nothing about the
// record.
func IsTransient(err error) bool {
	if err == nil {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
			return true
		}
		// A migration ran beside us; pgx forgets the plan, and the next run makes a new one.
		if pgErr.Code == "0A000" && strings.Contains(pgErr.Message, "cached plan") {
			return true
		}
		return isTransientCode(pgErr.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok { // includes context.DeadlineExceeded
		return true
	}
	for _, target := range []error{
		context.Canceled,
		io.EOF,
		io.ErrUnexpectedEOF,
		io.ErrClosedPipe,
		net.ErrClosed,
		pgconn.ErrConnClosed,
		pgx.ErrTxClosed, // the connection broke under the transaction
		puddle.ErrClosedPool,
		puddle.ErrNotAvailable,
		syscall.ECONNREFUSED,
		syscall.ECONNRESET,
		syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func isTransientCode(code string) bool {
	switch code {
	case SerializationFailure, DeadlockDetected,
		"25006", // read-only: the primary was demoted under us
		"25P03", // our transaction sat idle and was ended
		"55P03", // lock not available within lock_timeout
		"57014", // canceled, mostly by statement_timeout
		"57P01", // admin shutdown
		"57P02", // crash shutdown
		"57P03", // starting up
		"57P05": // idle session ended
		return true
	}
	return strings.HasPrefix(code, "08") || // connection
		strings.HasPrefix(code, "53") || // memory, disk, connections used up
		strings.HasPrefix(code, "58") // the server's own system calls fail
}
