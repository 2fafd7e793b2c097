package crash_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/crash"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPoints_are_distinct_and_named_alike(t *testing.T) {
	t.Parallel()
	seen := map[crash.Name]bool{}
	for _, point := range crash.Points() {
		require.False(t, seen[point], point)
		seen[point] = true
		require.Regexp(t, `^(worker|coordinator)\.[a-z_]+$`, point)
	}
	points := crash.Points()
	points[0] = "changed"
	require.NotEqual(t, points[0], crash.Points()[0])
}

// Every constant stands in the list, or a test that runs through the list would leave it out.
func TestPoints_is_complete(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("point.go")
	require.NoError(t, err)
	require.Len(t, crash.Points(), strings.Count(string(source), `Name = "`))
}

const program = `package main

import (
	"fmt"

	"recourse.dev/pkg/crash"
)

func main() {
	for i := 1; i <= 3; i++ {
		defer fmt.Println("deferred")
		crash.Point(crash.WorkerAfterCommit)
		fmt.Println("passed", i)
	}
}
`

// The program is built both ways, because a build tag cannot be set from within a test.
func TestPoint_ends_the_process(t *testing.T) {
	t.Parallel()
	// A file outside of the module sees the module's packages when it is built from here.
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	build := func(tags string) string {
		binary := filepath.Join(t.TempDir(), "program")
		out, err := exec.Command("go", "build", "-tags", tags, "-o", binary, file).CombinedOutput()
		require.NoError(t, err, string(out))
		return binary
	}
	run := func(binary, setting string) (string, int) {
		command := exec.Command(binary)
		command.Env = []string{crash.EnvVar + "=" + setting}
		out, err := command.CombinedOutput()
		if err != nil {
			require.ErrorAs(t, err, new(*exec.ExitError))
		}
		return string(out), command.ProcessState.ExitCode()
	}

	without, with := build(""), build("crashpoints")
	out, code := run(without, "worker.after_commit:1")
	require.Zero(t, code)
	require.Contains(t, out, "passed 3")

	out, code = run(with, "")
	require.Zero(t, code, out)
	out, code = run(with, "worker.after_load:1")
	require.Zero(t, code, out)
	out, code = run(with, "worker.after_commit:3")
	require.Equal(t, crash.ExitCode, code)
	require.Equal(t, "passed 1\npassed 2\n", out)
	out, code = run(with, "worker.after_commit")
	require.Equal(t, crash.ExitCode, code)
	require.Empty(t, out)
	for _, wrong := range []string{"worker.after_comit:1", "worker.after_commit:0", "worker.after_commit:x"} {
		out, code = run(with, wrong)
		require.Equal(t, 2, code)
		require.Contains(t, out, `RECOURSE_CRASH="`+wrong+`"`)
	}
}
