//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"slices"
	"sync"
)

// Enabled says whether this build can be struck at a point.
const Enabled = true

// armed is what is to happen at one point. A test process may hold several, one for each worker it runs.
type armed struct {
	point Name
	left  int
	// do may not return; a true result asks the point for the error.
	do func() bool
}

var (
	mu   sync.Mutex
	arms []*armed
)

// Point strikes here if that was asked for and the point has been met often enough. It is for lines that have nobody to
// tell of an error.
func Point(name Name) { _ = strike(name) }

// Fail is Point for a line that can tell its caller that the operation before it failed.
func Fail(name Name) error { return strike(name) }

func strike(name Name) error {
	var due []func() bool
	mu.Lock()
	for _, a := range arms {
		if a.point != name || a.left == 0 {
			continue
		}
		a.left--
		if a.left == 0 {
			due = append(due, a.do)
		}
	}
	mu.Unlock()
	var err error
	// Outside of the lock: a test's do may block, or come by another point.
	for _, do := range due {
		if do() {
			err = &Lie{Point: name}
		}
	}
	return err
}

// Arm calls do when the point is met for the n-th time from now, in the goroutine that meets it.
func Arm(name Name, n int, do func()) (disarm func(), err error) {
	if _, known := find(name); !known || n < 1 {
		return nil, fmt.Errorf("arming crash point %q at hit %d: want one of %v and a hit of 1 or more", name, n, Points())
	}
	a := &armed{point: name, left: n, do: func() bool { do(); return false }}
	arm(a)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		arms = slices.DeleteFunc(arms, func(other *armed) bool { return other == a })
	}, nil
}

func arm(a *armed) {
	mu.Lock()
	defer mu.Unlock()
	arms = append(arms, a)
}

// mustArm arms what a setting asks for, or ends the process.
func mustArm(origin, setting, struck string) {
	s, err := parse(setting)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s=%q: %v\n", origin, setting, err)
		os.Exit(2)
	}
	arm(&armed{point: s.point, left: s.hit, do: func() bool {
		report(struck, setting)
		switch s.mode {
		case Exit:
			os.Exit(ExitCode)
		case Panic:
			panic(fmt.Sprintf("crash point %s", s.point))
		case Stall:
			stall(s.stall)
		case Error:
		}
		return s.mode == Error
	}})
}
