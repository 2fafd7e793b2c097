package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"recourse.dev/services/standalone/stack"
)

// unit is one service's process and its supervisor, which starts it again whenever it has ended and nobody holds it.
type unit struct {
	name  string
	stack *stack.Stack
	say   func(format string, args ...any)

	mu sync.Mutex
	// held is set while a fault wants it down; a copy is held from the start.
	held bool
	// launched says that there is a process or was one; asked that its end was wanted; served that it has been ready: one
	// that finds no database or broker at its start ends, and is started again.
	launched, asked, served bool
	// env is added to the environment of the next start.
	env []string
	// died counts the ends that nobody wanted, with the last lines of the log of the newest.
	died  int
	tails []string
}

// supervise keeps the process up until ctx ends. What ends soon after its start is started again more slowly.
func (u *unit) supervise(ctx context.Context, ready func() bool) {
	pause, last := 200*time.Millisecond, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if u.unproven() && ready() {
			u.mu.Lock()
			u.served = true
			u.mu.Unlock()
		}
		if time.Since(last) < pause {
			continue
		}
		started, err := u.look(ctx)
		if err != nil && ctx.Err() == nil {
			u.say("%s: %s", u.name, firstLine(err))
		}
		if started {
			if time.Since(last) > 20*time.Second {
				pause = 200 * time.Millisecond
			}
			pause, last = min(2*pause, 2*time.Second), time.Now()
		}
	}
}

// unproven says that it runs and has not been ready yet.
func (u *unit) unproven() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.served && u.runningLocked()
}

func (u *unit) look(ctx context.Context) (started bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held || u.runningLocked() {
		return false, nil
	}
	if u.launched && !u.asked && u.served {
		u.died++
		tail := fmt.Sprintf("%s ended by itself with status %d:\n%s", u.name, u.stack.ExitStatus(u.name), u.stack.Tail(u.name))
		u.tails = append(u.tails, tail)
		u.say("%s", strings.SplitN(tail, "\n", 2)[0])
	}
	u.launched, u.asked, u.served = true, false, false
	return true, u.stack.Launch(ctx, u.name, u.env...)
}

func (u *unit) runningLocked() bool {
	if !u.launched {
		return false
	}
	select {
	case <-u.stack.Exited(u.name):
		return false
	default:
		return true
	}
}

// setEnv is for the next start.
func (u *unit) setEnv(env ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.env = env
}

// hold keeps it down once it has ended; release starts it again.
func (u *unit) hold() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held = true
}

func (u *unit) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held = false
}

// kill ends it with SIGKILL.
func (u *unit) kill(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.runningLocked() {
		return nil // it was starting again, which is as good
	}
	u.asked = true
	return u.stack.Kill(u.name)
}

// stop asks it to end, with all the time that it is given for that.
func (u *unit) stop(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.runningLocked() {
		return nil
	}
	u.asked = true
	drain, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := u.stack.Halt(drain, u.name)
	if err != nil && ctx.Err() == nil {
		_ = u.stack.Kill(u.name)
		u.tails = append(u.tails, firstLine(err))
		u.say("%s", firstLine(err))
		return nil
	}
	return err
}

func (u *unit) signal(sig syscall.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.runningLocked() {
		return errors.New(u.name + " does not run")
	}
	return u.stack.Signal(u.name, sig)
}
