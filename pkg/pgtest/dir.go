package pgtest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Dir is a folder for the data directory of a server that the test starts itself. Unlike t.TempDir it is open to the
// unprivileged user who runs PostgreSQL when root runs the tests, and in memory where there is room.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := makeDir("recourse-test-*")
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(dir, 0o755)) //nolint:gosec // see above
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(dir)) })
	return dir
}

// makeDir prefers a folder in memory. The servers run with fsync on, as the product does; on a disk that costs each
// test package several seconds for an initdb and its checkpoints, and shows nothing, since no test cuts the power.
func makeDir(pattern string) (string, error) {
	for _, parent := range parents() {
		if dir, err := os.MkdirTemp(parent, pattern); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", pattern)
}

// parents are the folders that makeDir may use, in order.
func parents() []string {
	if dir := os.Getenv("RECOURSE_TEST_DIR"); dir != "" {
		return []string{dir}
	}
	if dir := memoryDir(); dir != "" {
		return []string{dir, os.TempDir()}
	}
	return []string{os.TempDir()}
}
