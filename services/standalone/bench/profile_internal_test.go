package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
)

// What was spent is added up over all pieces, and so is the file.
func TestProfiling_in_pieces(t *testing.T) { //nolint:paralleltest // a process has one CPU profile
	alone.Lock()
	defer alone.Unlock()
	file := filepath.Join(t.TempDir(), "cpu.out")
	p, err := startProfile(&Options{CPUProfile: file}, 300*time.Millisecond)
	require.NoError(t, err)
	asCoordinator(func() {
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
		}
	})
	shares, err := p.stop()
	require.NoError(t, err)
	require.Greater(t, len(p.whole), 1)
	require.Greater(t, shares[partCoordinator], 0.5, "%v", shares)
	sum := 0.0
	for _, share := range shares {
		sum += share
	}
	require.InDelta(t, 1, sum, 1e-9)

	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	whole, err := profile.Parse(f)
	require.NoError(t, err)
	all := map[string]float64{}
	addTo(all, whole)
	require.Equal(t, p.spent, all)
}
