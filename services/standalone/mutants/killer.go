package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Kill is what one killer found.
type Kill struct {
	Killer Killer
	// Dead says that it noticed the mutant.
	Dead bool
	// By is what noticed: a test, a broken invariant.
	By string
	// Seeds is how many histories the simulator played until then.
	Seeds uint64
}

// bench is where one mutant, or with an empty overlay the unchanged program, is put to the test.
type bench struct {
	root    string
	dir     string
	overlay string
	env     []string
}

const (
	// testTimeout is for one run of tests; a mutant that hangs is dead as well.
	testTimeout = 3 * time.Minute
	// playTimeout is for one run of the simulator or the explorer.
	playTimeout = 5 * time.Minute
)

// exploreStates bounds the search of each definition: the shortest way to a broken promise is found first, and is short.
const exploreStates = "60000"

// seeds are played in ever larger helpings, because most mutants die young.
var seeds = []uint64{1_000, 9_000, 40_000, 150_000}

func (b *bench) kill(ctx context.Context, k Killer) (Kill, error) {
	switch k.Kind {
	case Sim:
		return b.simulate(ctx, k)
	case Explore:
		return b.explore(ctx, k)
	case Unit, DB:
	}
	return b.test(ctx, k)
}

// command runs in the tree, with the overlay for the go command and those that it starts.
func (b *bench) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the go command, or what it built
	cmd.Dir = b.root
	flags := os.Getenv("GOFLAGS")
	if b.overlay != "" {
		flags += " -overlay=" + b.overlay
	}
	cmd.Env = append(os.Environ(), b.env...)
	cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(flags))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

func (b *bench) test(ctx context.Context, k Killer) (Kill, error) {
	args := []string{"test", "-vet=off", "-failfast", "-timeout", testTimeout.String(), "-run", k.Run}
	if b.overlay != "" {
		args = append(args, "-count=1")
	}
	out, err := b.command(ctx, "go", append(args, k.Package)...).CombinedOutput()
	text := string(out)
	switch {
	case ctx.Err() != nil:
		return Kill{}, ctx.Err()
	case strings.Contains(text, "[build failed]") || strings.Contains(text, "[setup failed]"):
		return Kill{}, fmt.Errorf("%s does not compile:\n%s", k.Package, tail(text))
	case strings.Contains(text, "[no tests to run]"):
		return Kill{}, fmt.Errorf("%s has no test %s; name the one that checks this now, in %s", k.Package, k.Run, ListFile)
	case err == nil:
		return Kill{Killer: k}, nil
	}
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		return Kill{}, fmt.Errorf("running go test: %w", err)
	}
	return Kill{Killer: k, Dead: true, By: culprit(text)}, nil
}

// culprit is the test that failed, the innermost one.
func culprit(text string) string {
	if failed := failedTest.FindAllStringSubmatch(text, -1); len(failed) > 0 {
		return failed[len(failed)-1][1]
	}
	if strings.Contains(text, "panic: test timed out") {
		return "it hangs"
	}
	if at := strings.Index(text, "panic: "); at >= 0 {
		first, _, _ := strings.Cut(text[at:], "\n")
		return first
	}
	return tail(text)
}

// binary builds simulator and explorer once.
func (b *bench) binary(ctx context.Context) (string, error) {
	path := filepath.Join(b.dir, "play")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	out, err := b.command(ctx, "go", "build", "-ldflags=-s -w", "-o", path, "./services/standalone/mutants/play").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building it: %w\n%s", err, tail(string(out)))
	}
	return path, nil
}

// play runs a command of the program that ends with a line of JSON; ok is its exit status being 0.
func (b *bench) play(ctx context.Context, into any, args ...string) (ok bool, text string, err error) {
	path, err := b.binary(ctx)
	if err != nil {
		return false, "", err
	}
	limited, cancel := context.WithTimeout(ctx, playTimeout)
	defer cancel()
	cmd := b.command(limited, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return false, "", ctx.Err()
	case limited.Err() != nil:
		return false, "it hangs", nil
	}
	if at := strings.Index(stderr.String(), "panic: "); at >= 0 {
		first, _, _ := strings.Cut(stderr.String()[at:], "\n")
		return false, first, nil
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if bad := json.Unmarshal([]byte(lines[len(lines)-1]), into); bad != nil {
		return false, "", fmt.Errorf("running recourse %s: %w", strings.Join(args, " "), errors.Join(err, bad,
			errors.New(tail(stderr.String()))))
	}
	return err == nil, "", nil
}

func (b *bench) simulate(ctx context.Context, k Killer) (Kill, error) {
	var from uint64
	for _, n := range seeds {
		var report struct {
			Never []string `json:"never"`
			First *struct {
				Seed uint64 `json:"seed"`
				What string `json:"what"`
			} `json:"first"`
		}
		ok, text, err := b.play(ctx, &report, "sim", "--from", fmt.Sprint(from), "--seeds", fmt.Sprint(n))
		if err != nil {
			return Kill{}, err
		}
		from += n
		switch {
		case ok:
			continue
		case text != "":
			return Kill{k, true, text, from}, nil
		case report.First != nil:
			return Kill{k, true, report.First.What, report.First.Seed + 1}, nil
		default:
			return Kill{k, true, "never: " + strings.Join(report.Never, ", "), from}, nil
		}
	}
	return Kill{Killer: k, Seeds: from}, nil
}

func (b *bench) explore(ctx context.Context, k Killer) (Kill, error) {
	var report struct {
		Violations int `json:"violations"`
	}
	ok, text, err := b.play(ctx, &report, "explore", "--max-states", exploreStates)
	if err != nil || ok {
		return Kill{Killer: k}, err
	}
	if text == "" {
		text = fmt.Sprintf("%d violations", report.Violations)
	}
	return Kill{Killer: k, Dead: true, By: text}, nil
}

// tail is the end of an output, where the reason usually stands.
func tail(text string) string {
	const most = 1500
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = "... " + text[len(text)-most:]
	}
	return text
}
