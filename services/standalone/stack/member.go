package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// member is one service of a stack: a goroutine here, or a process of its own.
type member struct {
	program
	addr       string
	env        []string
	logPath    string
	own        bool
	executable string
	// binaries is a directory with the service's own binary, which is then used instead of executable.
	binaries string
	// around and made are Options.Around and Options.Made.
	around func(name string, run func())
	made   func(service any)

	cancel  context.CancelFunc
	process *os.Process
	done    chan struct{}
	status  atomic.Int32
	asked   atomic.Bool
}

func (m *member) migrate(ctx context.Context) error {
	log, err := m.openLog()
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // a log
	if m.binaries != "" {
		cmd := exec.CommandContext(ctx, filepath.Join(m.binaries, m.name), "migrate") //nolint:gosec // what is deployed
		cmd.Env = append(os.Environ(), m.env...)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("migrating %s: %w:\n%s", m.name, err, m.tail())
		}
		return nil
	}
	if status := m.execute(ctx, []string{"migrate"}, m.env, log, log, nil); status != 0 {
		return fmt.Errorf("migrating %s:\n%s", m.name, m.tail())
	}
	return nil
}

// start runs the member and waits until it says that it is ready.
func (m *member) start(ctx context.Context, env ...string) error {
	if err := m.launch(ctx, env...); err != nil {
		return err
	}
	return m.waitReady(ctx)
}

func (m *member) launch(ctx context.Context, env ...string) error {
	log, err := m.openLog()
	if err != nil {
		return err
	}
	environ := append(append([]string{}, m.env...), env...)
	m.done = make(chan struct{})
	m.asked.Store(false)
	m.status.Store(0)
	if m.own {
		err = m.startProcess(environ, log)
	} else {
		m.startGoroutine(ctx, environ, log)
	}
	return err
}

func (m *member) startGoroutine(ctx context.Context, environ []string, log io.WriteCloser) {
	// The member outlives the start; stop ends it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	done := m.done
	go func() {
		defer close(done)
		defer log.Close()
		m.around(m.name, func() {
			m.status.Store(int32(m.execute(ctx, []string{"serve"}, environ, log, log, m.made)))
		})
	}()
}

func (m *member) startProcess(environ []string, log *os.File) error {
	command, err := m.command()
	if err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx,gosec // it outlives the start; stop and kill end it
	cmd.Env = append(os.Environ(), environ...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	started := make(chan error, 1)
	done := m.done
	go func() {
		// See dieWithParent: the parent that it dies with is this thread, which therefore waits for its end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close() //nolint:errcheck // a log
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(done)
		_ = cmd.Wait() // the exit status says it all
		m.status.Store(int32(cmd.ProcessState.ExitCode()))
	}()
	if err := <-started; err != nil {
		m.done = nil // there is nothing to stop
		return fmt.Errorf("starting %s: %w", m.name, err)
	}
	m.process = cmd.Process
	return nil
}

// command is what serves the member as a process of its own.
func (m *member) command() ([]string, error) {
	if m.binaries != "" {
		return []string{filepath.Join(m.binaries, m.name), "serve"}, nil
	}
	if m.executable != "" {
		return []string{m.executable, "serve", m.name}, nil
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable: %w", err)
	}
	return []string{executable, "serve", m.name}, nil
}

func (m *member) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close() // only the status matters
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-m.done:
			return fmt.Errorf("%s did not start (status %d):\n%s", m.name, m.status.Load(), m.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", m.name, ctx.Err(), m.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (m *member) stop(ctx context.Context) error {
	if m.done == nil {
		return nil
	}
	m.asked.Store(true)
	if m.own {
		_ = interrupt(m.process) // it may have ended already
	} else {
		m.cancel()
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		if m.own {
			_ = m.process.Kill()
		}
		return fmt.Errorf("%s did not stop: %w", m.name, ctx.Err())
	}
}

func (m *member) kill() error {
	if !m.own {
		return fmt.Errorf("%s runs inside this process and cannot be killed", m.name)
	}
	m.asked.Store(true)
	if err := m.process.Kill(); err != nil {
		return fmt.Errorf("killing %s: %w", m.name, err)
	}
	<-m.done
	return nil
}

func (m *member) signal(signal os.Signal) error {
	if !m.own || m.process == nil {
		return fmt.Errorf("%s is no process that could be sent a signal", m.name)
	}
	if err := m.process.Signal(signal); err != nil {
		return fmt.Errorf("sending %s to %s: %w", signal, m.name, err)
	}
	return nil
}

func (m *member) died() bool {
	if m.done == nil || m.asked.Load() {
		return false
	}
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

func (m *member) openLog() (*os.File, error) {
	f, err := os.OpenFile(m.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", m.name, err)
	}
	return f, nil
}

// tail is the end of the member's log, for errors.
func (m *member) tail() string {
	data, err := os.ReadFile(m.logPath)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

func free(addr string) bool {
	l, err := net.Listen("tcp", addr) //nolint:noctx // a probe
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// given are the addresses that this process has handed out. Whoever has one may not listen yet, or be down for a while.
var given sync.Map

// FreeAddress picks a port below the range that the system gives to outgoing
// connections, so that nobody takes it between this look and the member's own
// listen, and none that it has picked before.
func FreeAddress() (string, error) {
	for range 200 {
		addr := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		if _, before := given.LoadOrStore(addr, nil); !before && free(addr) {
			return addr, nil
		}
	}
	return "", errors.New("no free port between 15000 and 30000 on 127.0.0.1")
}
