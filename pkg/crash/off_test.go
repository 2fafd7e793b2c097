//go:build !crashpoints

package crash_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/crash"
)

func TestArm_without_the_tag(t *testing.T) {
	t.Parallel()
	require.False(t, crash.Enabled)
	_, err := crash.Arm(crash.WorkerAfterCommit, 1, func() { t.Error("called") })
	require.ErrorIs(t, err, crash.ErrDisabled)
	crash.Point(crash.WorkerAfterCommit)
}
