package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/sim"
)

func TestRun_HoldsItsInvariants(t *testing.T) {
	t.Parallel()
	r := sim.Run(t.Context(), sim.Options{Seeds: 100_000})
	if r.First != nil {
		for _, line := range r.First.Trace {
			t.Log(line)
		}
		require.FailNow(t, r.First.What, "seed %d, %d of %d", r.First.Seed, r.Violations, r.Histories)
	}
	require.Empty(t, r.Never, "paths that were never taken")
}

func TestRun_SameSeedSameHash(t *testing.T) {
	t.Parallel()
	a := sim.Run(t.Context(), sim.Options{Seeds: 2000, From: 77, Workers: 1})
	b := sim.Run(t.Context(), sim.Options{Seeds: 2000, From: 77, Workers: 3})
	require.Equal(t, a.Hash, b.Hash)
	require.Equal(t, a.Events, b.Events)
}
