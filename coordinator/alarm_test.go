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
		a.Set(ids[i], at(10-i))
	}
	require.Equal(t, at(5), a.Next())
	a.Set(ids[5], at(20)) // later
	a.Set(ids[4], time.Time{})
	a.Set(uuid.New(), time.Time{})
	a.Add(ids[0], at(15)) // an earlier one stays
	a.Add(ids[1], at(1))
	require.Equal(t, 5, a.Len())
	require.Empty(t, a.Take(at(0), 10))
	require.Equal(t, []uuid.UUID{ids[1]}, a.Take(at(1), 10))
	require.Equal(t, []uuid.UUID{ids[3], ids[2]}, a.Take(at(60), 2))
	require.Equal(t, []uuid.UUID{ids[0], ids[5]}, a.Take(at(60), 10))
	require.Zero(t, a.Len())
	require.True(t, a.Next().IsZero())
}
