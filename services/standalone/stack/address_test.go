package stack_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/stack"
)

// Members of one process that are down for a while find their address free when they come again.
func TestFreeAddress_is_given_once(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		addr, err := stack.FreeAddress()
		require.NoError(t, err)
		require.False(t, seen[addr], addr)
		seen[addr] = true
	}
}
