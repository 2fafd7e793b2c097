package crash_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/pg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPoints_are_distinct_and_named_alike(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(crash.Points()), 40)
	seen := map[crash.Name]bool{}
	for _, point := range crash.Points() {
		require.False(t, seen[point], point)
		seen[point] = true
		require.Regexp(t, `^(worker|coordinator|consumer|deadletter|inbox|inventory|payment|shipping|notification)\.[a-z_]+$`, point)
	}
	points := crash.Points()
	points[0] = "changed"
	require.NotEqual(t, points[0], crash.Points()[0])
}

// Every constant stands in the list, or a test that runs through the list would leave it out; and each stands in the
// code once, with the function that suits it.
func TestPoints_are_complete(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("point.go")
	require.NoError(t, err)
	constants := regexp.MustCompile(`\t(\w+) +Name = "([a-z_.]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Len(t, crash.Points(), len(constants))
	calls := map[string][]string{}
	call := regexp.MustCompile(`(crash\.Point|crash\.Fail|halt\.At)\((?:ctx, )?crash\.(\w+)\)`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "pkg/crash/") || strings.Contains(path, "workertest") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range call.FindAllStringSubmatch(string(text), -1) {
			calls[found[2]] = append(calls[found[2]], found[1])
		}
		return err
	}))
	for _, constant := range constants {
		require.Len(t, calls[constant[1]], 1, "%s stands on one line", constant[1])
		deaf := crash.Without(crash.Name(constant[2]), crash.Error) != ""
		require.Equal(t, deaf, calls[constant[1]][0] == "crash.Point", "%s and mode error", constant[1])
	}
}

func TestLie_looks_like_a_lost_connection(t *testing.T) {
	t.Parallel()
	err := &crash.Lie{Point: crash.WorkerAfterCommit}
	require.True(t, pg.IsTransient(err))
	require.ErrorContains(t, err, "worker.after_commit")
}

const program = `package main

import (
	"fmt"
	"time"

	"recourse.dev/pkg/crash"
)

func main() {
	for i := 1; i <= 3; i++ {
		defer fmt.Println("deferred")
		begin := time.Now()
		err := crash.Fail(crash.WorkerAfterCommit)
		crash.Point(crash.CoordinatorAfterTake)
		fmt.Println("passed", i, err, time.Since(begin) > 300*time.Millisecond)
	}
}
`

// build makes the program, because a build tag cannot be set from within a test.
func build(t *testing.T, tags string) string {
	t.Helper()
	// A file outside of the module sees the module's packages when it is built from here.
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", binary, file).CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

func run(t *testing.T, binary string, env ...string) (string, int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary)
	command.Env = env
	out, err := command.CombinedOutput()
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return string(out), command.ProcessState.ExitCode()
}

func TestPoint_strikes_the_process(t *testing.T) {
	t.Parallel()
	const all = "passed 1 <nil> false\npassed 2 <nil> false\npassed 3 <nil> false\ndeferred\ndeferred\ndeferred\n"
	without, with := build(t, ""), build(t, "crashpoints")
	for _, test := range []struct {
		name, binary, setting string
		code                  int
		out                   string
	}{
		{"not built in", without, "worker.after_commit:1", 0, all},
		{"nothing asked for", with, "", 0, all},
		{"another point", with, "worker.after_load:1", 0, all},
		{"the third time", with, "worker.after_commit:3", crash.ExitCode, "passed 1 <nil> false\npassed 2 <nil> false\n"},
		{"the first time", with, "worker.after_commit", crash.ExitCode, ""},
		{"a line without an error", with, "coordinator.after_take:1:exit", crash.ExitCode, ""},
		{"a stall", with, "worker.after_commit:2:stall=400ms", 0, strings.Replace(all, "2 <nil> false", "2 <nil> true", 1)},
		{
			"an error", with, "worker.after_commit:2:error", 0,
			strings.Replace(all, "2 <nil>", "2 crash point worker.after_commit: unexpected EOF", 1),
		},
		{"two settings", with, "worker.after_load:1,worker.after_commit:1:exit", crash.ExitCode, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, code := run(t, test.binary, crash.EnvVar+"="+test.setting)
			require.Equal(t, test.code, code, out)
			require.Equal(t, test.out, out)
		})
	}
	t.Run("a panic", func(t *testing.T) {
		t.Parallel()
		out, code := run(t, with, crash.EnvVar+"=worker.after_commit:2:panic")
		require.Equal(t, 2, code)
		require.Contains(t, out, "passed 1 <nil> false\ndeferred\ndeferred\npanic: crash point worker.after_commit")
	})
	for _, wrong := range []string{
		"worker.after_comit:1", "worker.after_commit:0", "worker.after_commit:x", "worker.after_commit:1:sleep",
		"worker.after_commit:1:exit=1s", "worker.after_commit:1:stall=-1s", "worker.after_commit:1:exit:1",
		"coordinator.after_take:1:error",
	} {
		t.Run(wrong, func(t *testing.T) {
			t.Parallel()
			out, code := run(t, with, crash.EnvVar+"="+wrong)
			require.Equal(t, 2, code)
			require.Contains(t, out, `RECOURSE_CRASH="`+wrong+`"`)
		})
	}
}

const follower = `package main

import (
	"fmt"
	"time"

	"recourse.dev/pkg/crash"
)

func main() {
	fmt.Println("started")
	for crash.Fail(crash.WorkerAfterCommit) == nil {
		time.Sleep(time.Millisecond)
	}
}
`

// What the file holds at the start belongs to the process before; what is added strikes, and is reported.
func TestPoint_follows_a_file(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, binary, file := filepath.Join(dir, "main.go"), filepath.Join(dir, "program"), filepath.Join(dir, "settings")
	require.NoError(t, os.WriteFile(source, []byte(follower), 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", binary, source).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.WriteFile(file, []byte("worker.after_commit:1:exit\n"), 0o600))
	command := exec.CommandContext(t.Context(), binary)
	command.Env = []string{crash.FileVar + "=" + file}
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	_, err = stdout.Read(make([]byte, 8))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	require.Never(t, func() bool { return len(done) > 0 }, 200*time.Millisecond, 20*time.Millisecond)

	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString("worker.after_commit:3:error\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, <-done)
	struck, err := os.ReadFile(file + crash.Struck)
	require.NoError(t, err)
	require.Equal(t, "worker.after_commit:3:error\n", string(struck))
}

// Points cost nothing: a normal build of a function with them is the code of one without them.
func TestPoint_costs_nothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	assembly := func(body string) string {
		file := filepath.Join(dir, "main.go")
		require.NoError(t, os.WriteFile(file, []byte("package main\n\nimport \"recourse.dev/pkg/crash\"\n\n"+
			"//go:noinline\nfunc work(n int) (int, error) {\n"+body+"\treturn n + 1, nil\n}\n\n"+
			"func main() { println(work(len(crash.EnvVar))) }\n"), 0o600))
		binary := filepath.Join(dir, "program")
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, file).CombinedOutput()
		require.NoError(t, err, string(out))
		out, err = exec.CommandContext(t.Context(), "go", "tool", "objdump", "-s", "^main.work$", binary).CombinedOutput()
		require.NoError(t, err, string(out))
		var instructions []string
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) > 3 && strings.Contains(fields[0], ".go:") {
				instructions = append(instructions, strings.Join(fields[3:], " "))
			}
		}
		require.NotEmpty(t, instructions, string(out))
		return strings.Join(instructions, "\n")
	}
	require.Equal(t, assembly(""), assembly("\tcrash.Point(crash.CoordinatorAfterTake)\n"+
		"\tif err := crash.Fail(crash.WorkerAfterCommit); err != nil {\n\t\treturn 0, err\n\t}\n"))
}
