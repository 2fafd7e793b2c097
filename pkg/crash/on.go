//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Enabled says whether this build can be killed at a point.
const Enabled = true

// armed is what is to happen at one point. A test process may hold several, one for each worker it runs.
type armed struct {
	point Name
	left  int
	do    func()
}

var (
	mu   sync.Mutex
	arms []*armed
)

func init() {
	setting, ok := os.LookupEnv(EnvVar)
	if !ok || setting == "" {
		return
	}
	point, n, err := parse(setting)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	arms = append(arms, &armed{point: point, left: n, do: func() { os.Exit(ExitCode) }})
}

// Point ends the process if it is the point that was asked for and it has been met often enough.
func Point(name Name) {
	var due []func()
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
	// Outside of the lock: a test's do may block, or come by another point.
	for _, do := range due {
		do()
	}
}

// Arm calls do when the point is met for the n-th time from now, in the goroutine that meets it.
func Arm(name Name, n int, do func()) (disarm func(), err error) {
	if !slices.Contains(points, name) || n < 1 {
		return nil, fmt.Errorf("arming crash point %q at hit %d: want one of %v and a hit of 1 or more", name, n, points)
	}
	a := &armed{point: name, left: n, do: do}
	mu.Lock()
	defer mu.Unlock()
	arms = append(arms, a)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		arms = slices.DeleteFunc(arms, func(other *armed) bool { return other == a })
	}, nil
}

func parse(setting string) (Name, int, error) {
	name, count, found := strings.Cut(setting, ":")
	n := 1
	if found {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return "", 0, fmt.Errorf("%s=%q: want <point>:<n> with n of 1 or more", EnvVar, setting)
		}
	}
	if !slices.Contains(points, Name(name)) {
		return "", 0, fmt.Errorf("%s=%q: no such point; there are %v", EnvVar, setting, points)
	}
	return Name(name), n, nil
}
