package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// ShiftClock lets new connections to a database of this package find its clock off by an interval: clock_timestamp()
// means another function there. What asks for now() is not fooled.
func ShiftClock(tb testing.TB, url, interval string) {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	require.NoError(tb, err)
	for _, sql := range []string{
		"CREATE SCHEMA IF NOT EXISTS shifted",
		"CREATE OR REPLACE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS " +
			"$$ SELECT pg_catalog.clock_timestamp() + interval '" + interval + "' $$",
		"ALTER DATABASE " + quote(conn.Config().Database) + " SET search_path = public, shifted, pg_catalog",
	} {
		_, err := conn.Exec(tb.Context(), sql)
		require.NoError(tb, err)
	}
	require.NoError(tb, conn.Close(tb.Context()))
}
