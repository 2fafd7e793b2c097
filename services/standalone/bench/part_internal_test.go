package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What allocates makes labels anew.
func TestAsCoordinator_makes_no_labels(t *testing.T) { //nolint:paralleltest // it counts this process's allocations
	require.Zero(t, testing.AllocsPerRun(1000, func() { asCoordinator(func() {}) }))
}
