package saga_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga/scenario"
)

// TestScenarios plays the conversations of testdata: command, ----, everything
// that follows. Package scenario lists the commands. Accept a new behaviour with
// `go test ./saga -rewrite`, and read the difference as the change of behaviour
// that it is.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, file := range files {
		if file.Name() == "fuzz" {
			continue // inputs of the fuzz targets
		}
		t.Run(file.Name(), func(t *testing.T) { play(t, filepath.Join("testdata", file.Name())) })
	}
}

func play(t *testing.T, path string) {
	t.Helper()
	datadriven.Walk(t, path, func(t *testing.T, path string) {
		var p scenario.Player
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			c := scenario.Command{Name: td.Cmd, Input: td.Input}
			for _, a := range td.CmdArgs {
				arg := scenario.Arg{Key: a.Key}
				if len(a.Vals) > 0 {
					arg.Value = a.Vals[0]
				}
				c.Args = append(c.Args, arg)
			}
			out, err := p.Play(c)
			require.NoError(t, err, td.Pos)
			return out
		})
	})
}
