package pg_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func TestCheckClock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, shift, want string }{
		{"right", "", ""},
		{"a little off", "20 seconds", ""},
		{"database ahead", "1 hour", "this machine's clock is 1h0m0s behind that of the database server"},
		{"database behind", "-1 hour", "this machine's clock is 1h0m0s ahead of that of the database server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t, nil)
			if test.shift != "" {
				pgtest.ShiftClock(t, address, test.shift)
			}
			err := pg.CheckClock(t.Context(), pgtest.Pool(t, address))
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "let NTP set both")
		})
	}
}

func TestRegisterClock(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t, nil)
	pgtest.ShiftClock(t, address, "2 minutes")
	registry, pool := prometheus.NewRegistry(), pgtest.Pool(t, address)
	pg.RegisterClock(registry, pool)
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Equal(t, "recourse_database_clock_offset_seconds", families[0].GetName())
	require.InDelta(t, 120, families[0].GetMetric()[0].GetGauge().GetValue(), 5)

	pool.Close()
	n, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.Equal(t, 1, n, "a database that is away does not break the scrape")
}
