package coordinator_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator"
)

func TestAlarms(t *testing.T) {
	t.Parallel()
	a := coordinator.NewAlarms()
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
	ids := make([]uuid.UUID, 6)
	for i := range ids {
		ids[i] = uuid.New()
		a.Set(ids[i], at(10-i), 1)
	}
	require.Equal(t, at(5), a.Next())
	a.Set(ids[5], at(20), 1) // later
	a.Set(ids[4], time.Time{}, 1)
	a.Set(uuid.New(), time.Time{}, 1)
	a.Add(ids[0], at(15), 1) // an earlier one stays
	a.Add(ids[1], at(1), 1)
	require.Equal(t, 5, a.Len())
	require.Empty(t, a.Take(at(0), 10))
	require.Equal(t, []uuid.UUID{ids[1]}, a.Take(at(1), 10))
	require.Equal(t, []uuid.UUID{ids[3], ids[2]}, a.Take(at(60), 2))
	require.Equal(t, []uuid.UUID{ids[0], ids[5]}, a.Take(at(60), 10))
	require.Zero(t, a.Len())
	require.True(t, a.Next().IsZero())
}

// What is put off stays until then, a bounded number at a time, whatever a scan finds: it reads the time that has passed.
// Unless the saga is another one by now.
func TestAlarms_put_off(t *testing.T) {
	t.Parallel()
	a := coordinator.NewAlarms()
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
	const revision, n = 7, 15
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
		a.Set(ids[i], at(0), revision)
	}
	require.Equal(t, 10, a.TakeNone(at(1), 1, 8*time.Second))
	require.Equal(t, n-10, a.TakeNone(at(1), 1, 8*time.Second))
	require.Equal(t, n, a.Len())
	require.Equal(t, at(9), a.Next())

	for _, id := range ids {
		a.Found(id, at(0), revision)
		a.Found(id, at(0), revision-1) // read before the last write
	}
	require.Equal(t, at(9), a.Next())
	a.Found(ids[0], at(5), revision+1)
	require.Equal(t, []uuid.UUID{ids[0]}, a.Take(at(5), n))
	a.Found(ids[1], at(20), revision+1)
	require.Contains(t, a.Take(at(9), n), ids[1], "what was put off has a reason that is over, so it is looked at")

	stranger := uuid.New()
	a.Found(stranger, at(3), revision)
	a.Found(stranger, at(2), revision)
	require.Equal(t, []uuid.UUID{stranger}, a.Take(at(2), n))
}
