package system_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"recourse.dev/pkg/crash"
)

// victim is a member that is struck, one line after the other. Another process of its kind, the spare, is left alone.
type victim struct {
	*platform
	name, spare string
	points      []crash.Name
	// file tells the running process where to be struck.
	file string
	// session is how long others wait for it before they take over.
	session time.Duration
}

const (
	// stallCallFor is longer than the lease of a call, which another process may ask again then.
	stallCallFor = 5 * time.Second
	// contained is how long a process has to die of a panic that it does not survive.
	contained = 300 * time.Millisecond
	// unstruck is how long a point may not be met.
	unstruck = 2 * time.Minute
)

var (
	// Met while the process starts, and while it stops.
	startPoints = []crash.Name{
		crash.CoordinatorAfterDefinitions, crash.CoordinatorAfterPartitions, crash.CoordinatorAfterLowWater,
		crash.WorkerAfterPrune,
	}
	stopPoints = []crash.Name{
		crash.CoordinatorAfterIntakeClosed, crash.CoordinatorAfterFlush, crash.WorkerAfterDrain,
	}
	callPoints = []crash.Name{
		crash.WorkerAfterClaim, crash.WorkerBeforeCall, crash.WorkerAfterAnswer, crash.WorkerAfterCall,
		crash.PaymentAfterPlan, crash.ShippingAfterBooking, crash.ShippingAfterIntent, crash.NotificationAfterIntent,
		crash.NotificationAfterSend,
	}
	// doubtPoints are met when a call was not answered; so some calls are told that they failed.
	doubtPoints = []crash.Name{crash.WorkerAfterClaim, crash.PaymentAfterPlan}
)

// strike lets the process be struck and brings it back to work.
func (v *victim) strike(point crash.Name, mode crash.Mode) error {
	setting := fmt.Sprintf("%s:1:%s", point, mode)
	pause := v.session + time.Second
	if mode == crash.Stall {
		if slices.Contains(callPoints, point) {
			pause = max(pause, stallCallFor)
		}
		setting += "=" + pause.String()
	}
	ctx := v.t.Context()
	switch {
	case slices.Contains(startPoints, point):
		if err := v.Halt(ctx, v.name); err != nil {
			return err
		}
		if err := v.Launch(ctx, v.name, crash.EnvVar+"="+setting); err != nil {
			return err
		}
	case slices.Contains(stopPoints, point):
		if err := v.arm(setting); err != nil {
			return err
		}
		<-time.After(100 * time.Millisecond) // until the process has read it
		if err := v.Halt(ctx, v.name); err != nil {
			return err
		}
		if !v.struck(setting) {
			return errors.New("it was not met")
		}
		return v.restart()
	default:
		if err := v.arm(setting); err != nil {
			return err
		}
	}
	var doubted time.Time
	for begin := time.Now(); !v.struck(setting); <-time.After(10 * time.Millisecond) {
		if time.Since(begin) > unstruck {
			return fmt.Errorf("it was not met; the log ends with\n%s", v.Tail(v.name))
		}
		if slices.Contains(doubtPoints, point) && time.Since(doubted) > 700*time.Millisecond {
			doubted = time.Now()
			if err := v.arm(string(crash.WorkerBeforeCall) + ":2:error"); err != nil {
				return err
			}
		}
	}
	return v.recover(mode, pause)
}

// recover starts a process again that has died, and waits for one that has not.
func (v *victim) recover(mode crash.Mode, pause time.Duration) error {
	patience := contained
	switch mode {
	case crash.Exit:
		patience = 30 * time.Second
	case crash.Stall:
		patience = pause
	case crash.Panic, crash.Error:
	}
	select {
	case <-v.Exited(v.name):
	case <-time.After(patience):
		if mode == crash.Exit {
			return errors.New("it did not die")
		}
		return v.ready()
	}
	want := map[crash.Mode]int{crash.Exit: crash.ExitCode, crash.Panic: 2, crash.Error: 1}
	if status := v.ExitStatus(v.name); status != want[mode] || mode == crash.Stall {
		return fmt.Errorf("it ended with status %d:\n%s", status, v.Tail(v.name))
	}
	return v.restart()
}

func (v *victim) restart() error { return v.Restart(v.t.Context(), v.name) }

func (v *victim) ready() error {
	for begin := time.Now(); time.Since(begin) < unstruck; <-time.After(20 * time.Millisecond) {
		if a, err := v.ask(http.MethodGet, v.URL(v.name)+"/readyz", "", nil); err == nil && a.status == http.StatusOK {
			return nil
		}
		select {
		case <-v.Exited(v.name):
			return fmt.Errorf("it ended with status %d:\n%s", v.ExitStatus(v.name), v.Tail(v.name))
		default:
		}
	}
	return fmt.Errorf("it is not ready again:\n%s", v.Tail(v.name))
}

func (v *victim) arm(setting string) error {
	f, err := os.OpenFile(v.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(setting + "\n")
	return errors.Join(err, f.Close())
}

// struck says whether the process has reported the strike; a setting is given once.
func (v *victim) struck(setting string) bool {
	report, err := os.ReadFile(v.file + crash.Struck)
	return err == nil && strings.Contains("\n"+string(report), "\n"+setting+"\n")
}

// overtaken counts how often the process, awake again, was told that it is no member of its group any more.
func (v *victim) overtaken(dir string) int {
	log, err := os.ReadFile(filepath.Join(dir, "log", v.name+".log"))
	if err != nil {
		return 0
	}
	return strings.Count(string(log), "UNKNOWN_MEMBER_ID")
}
