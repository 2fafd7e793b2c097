package clock_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/clock"
)

type assertT = assert.CollectT

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNow_is_the_wall_clock(t *testing.T) {
	t.Parallel()
	require.WithinDuration(t, time.Now(), clock.Now(), time.Second)
}

// The program says how far its clock is off, once for every line that it reads.
const program = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"recourse.dev/pkg/clock"
)

func main() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(clock.Now().Sub(time.Now().Round(0)).Round(time.Minute))
	}
}
`

// The program is built both ways, because a build tag cannot be set from within a test.
func TestNow_is_stepped_by_a_file(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, file := filepath.Join(dir, "main.go"), filepath.Join(dir, "offset")
	require.NoError(t, os.WriteFile(source, []byte(program), 0o600))
	start := func(tags string) (ask func() string) {
		binary := filepath.Join(t.TempDir(), "program")
		out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", binary, source).CombinedOutput()
		require.NoError(t, err, string(out))
		// It ends with its input, which is closed when the test's context has ended already.
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary)
		cmd.Env = []string{clock.EnvVar + "=" + file}
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			require.NoError(t, stdin.Close())
			require.NoError(t, cmd.Wait())
		})
		lines := bufio.NewScanner(stdout)
		return func() string {
			_, err := stdin.Write([]byte("\n"))
			require.NoError(t, err)
			require.True(t, lines.Scan())
			return lines.Text()
		}
	}
	normal, stepped := start(""), start("crashpoints")
	require.Equal(t, "0s", stepped(), "there is no file yet")
	for _, step := range []struct{ content, want string }{
		{"1h", "1h0m0s"}, {"-1h\n", "-1h0m0s"}, {"nonsense", "-1h0m0s"}, {"", "0s"},
	} {
		require.NoError(t, os.WriteFile(file, []byte(step.content), 0o600))
		require.EventuallyWithT(t, func(t *assertT) { require.Equal(t, step.want, stepped()) },
			5*time.Second, 20*time.Millisecond)
		require.Equal(t, "0s", normal())
	}
}
