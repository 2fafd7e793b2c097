package coordinator

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	t.Parallel()
	var n names
	begin := time.UnixMilli(1790000000123).UTC()
	var last uuid.UUID
	for i, now := range []time.Time{
		begin, begin, begin.Add(time.Microsecond), begin.Add(2 * time.Millisecond),
		begin.Add(-time.Second), // the clock as it is known has gone back
		begin.Add(-time.Second), begin.Add(3 * time.Millisecond),
	} {
		id, err := n.next(now)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(7), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		require.Greater(t, id.String(), last.String(), i)
		last = id
	}
	for range 10_000 { // more than a millisecond has fractions
		id, err := n.next(begin)
		require.NoError(t, err)
		require.Greater(t, id.String(), last.String())
		last = id
	}
	id, err := n.next(begin.Add(time.Hour))
	require.NoError(t, err)
	seconds, _ := id.Time().UnixTime()
	require.Equal(t, begin.Add(time.Hour).Unix(), seconds)
	require.Greater(t, id.String(), firstIDOf(begin.Add(time.Hour)).String())
	require.Less(t, id.String(), firstIDOf(begin.Add(time.Hour+time.Millisecond)).String())
}
