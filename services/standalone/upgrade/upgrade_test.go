package upgrade_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/demo"
	"recourse.dev/services/standalone/upgrade"
)

func TestCheckBinaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.ErrorContains(t, upgrade.CheckBinaries(dir), "no executable inventory in it")
	for _, name := range upgrade.Services {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o700))
	}
	require.NoError(t, upgrade.CheckBinaries(dir))
	require.NoError(t, os.Chmod(filepath.Join(dir, "coordinator"), 0o600))
	require.ErrorContains(t, upgrade.CheckBinaries(dir), "no executable coordinator in it")
}

func TestReport_OK(t *testing.T) {
	t.Parallel()
	require.True(t, (&upgrade.Report{From: "1", To: "2", Report: &demo.Report{}}).OK())
	require.False(t, (&upgrade.Report{From: "1", To: "1", Report: &demo.Report{}}).OK(), "nothing was upgraded")
	require.False(t, (&upgrade.Report{From: "1", To: "2", Report: &demo.Report{}, DeadLetters: 1}).OK())
	require.False(t, (&upgrade.Report{From: "1", To: "2", Report: &demo.Report{Lost: 1}}).OK())
}
