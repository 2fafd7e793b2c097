//go:build crashpoints

package crash_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/crash"
)

func TestArm(t *testing.T) {
	t.Parallel()
	hits := 0
	disarm, err := crash.Arm(crash.WorkerAfterCommit, 2, func() { hits++ })
	require.NoError(t, err)
	crash.Point(crash.WorkerAfterCommit)
	require.Zero(t, hits)
	crash.Point(crash.WorkerAfterLoad)
	crash.Point(crash.WorkerAfterCommit)
	crash.Point(crash.WorkerAfterCommit)
	require.Equal(t, 1, hits)
	disarm()

	disarm, err = crash.Arm(crash.WorkerAfterCommit, 1, func() { hits++ })
	require.NoError(t, err)
	disarm()
	crash.Point(crash.WorkerAfterCommit)
	require.Equal(t, 1, hits)

	for point, n := range map[crash.Name]int{"no.such_point": 1, crash.WorkerAfterCommit: 0} {
		_, err = crash.Arm(point, n, func() {})
		require.Error(t, err)
	}
}
