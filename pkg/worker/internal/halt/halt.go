// Package halt is the place where a test stops a worker as if its process had died.
//
// Every named line of a batch calls At. In a build with crash points that may strike the process (see package crash).
// Inside one process, a context made by Before makes At panic instead: the transaction in hand is rolled back, what was
// in memory is lost, what was committed stays. That is all that the rest of the world can see of a death, so the test
// kit's Crash is built on it. Where nobody has called Before, which is everywhere but in such tests, that costs the look
// at a flag.
package halt

import (
	"context"
	"fmt"
	"sync/atomic"

	"recourse.dev/pkg/crash"
)

// Halted is what At panics with.
type Halted struct{ Point crash.Name }

// Error makes a panic that nobody caught readable.
func (h Halted) Error() string { return fmt.Sprintf("halted at %s", h.Point) }

type key struct{}

// used says that some worker of this process is to be halted.
var used atomic.Bool

// Before makes At panic when a worker that was given this context comes to the point.
func Before(ctx context.Context, point crash.Name) context.Context {
	used.Store(true)
	return context.WithValue(ctx, key{}, point)
}

// At is called at every named point. The error is one of mode error; see crash.Fail.
func At(ctx context.Context, point crash.Name) error {
	if used.Load() {
		stop(ctx, point)
	}
	return crash.Fail(point)
}

func stop(ctx context.Context, point crash.Name) {
	if armed, ok := ctx.Value(key{}).(crash.Name); ok && armed == point {
		panic(Halted{Point: point})
	}
}
