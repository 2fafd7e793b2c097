package pg_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestClock(t *testing.T) {
	t.Parallel()
	soon := 10 * time.Second

	t.Run("is the wall clock before the first reading", func(t *testing.T) {
		t.Parallel()
		var c pg.Clock
		require.False(t, c.Known())
		require.WithinDuration(t, time.Now(), c.Now(), soon)
	})
	t.Run("goes on from its last reading, whatever this machine's clock says", func(t *testing.T) {
		t.Parallel()
		var c pg.Clock
		database := time.Now().Add(-24 * time.Hour).Round(0)
		c.Set(database, time.Now())
		require.True(t, c.Known())
		require.WithinDuration(t, database, c.Now(), soon)
		c.Set(database.Add(time.Hour), time.Now())
		require.WithinDuration(t, database.Add(time.Hour), c.Now(), soon)
		before := c.Now()
		require.False(t, c.Now().Before(before))
	})
	t.Run("does not go by a reading that is older, or was long under way", func(t *testing.T) {
		t.Parallel()
		var c pg.Clock
		late := time.Now().Add(-time.Minute)
		c.Set(late, late)
		require.WithinDuration(t, time.Now(), c.Now(), soon, "the first one is better than none")
		c.Set(late.Add(-time.Hour), late.Add(time.Second))
		c.Set(late.Add(-time.Hour), late.Add(-time.Second))
		require.WithinDuration(t, time.Now(), c.Now(), soon)
	})
	t.Run("asks the database", func(t *testing.T) {
		t.Parallel()
		var c pg.Clock
		require.NoError(t, c.Read(t.Context(), pgtest.DB(t, nil)))
		require.True(t, c.Known())
		require.WithinDuration(t, time.Now(), c.Now(), soon)
	})
}
