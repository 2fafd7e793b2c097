package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgserver"
	"recourse.dev/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func files() fstest.MapFS {
	return fstest.MapFS{
		"00001_thing.sql": {Data: []byte("-- +goose Up\nCREATE TABLE thing (id int PRIMARY KEY);\n")},
		"00002_seed.sql":  {Data: []byte("-- +goose Up\nINSERT INTO thing VALUES (1);\n")},
	}
}

func TestDB(t *testing.T) {
	t.Parallel()
	for range 12 {
		t.Run("own copy", func(t *testing.T) {
			t.Parallel()
			pool := pgtest.DB(t, files())
			// Would collide in a shared database.
			_, err := pool.Exec(t.Context(), "INSERT INTO thing VALUES (2)")
			require.NoError(t, err)
			var n int
			require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM thing").Scan(&n))
			require.Equal(t, 2, n)
		})
	}
	t.Run("other files, other schema", func(t *testing.T) {
		t.Parallel()
		changed := files()
		changed["00002_seed.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nINSERT INTO thing VALUES (5);\n")}
		var id int
		require.NoError(t, pgtest.DB(t, changed).QueryRow(t.Context(), "SELECT id FROM thing").Scan(&id))
		require.Equal(t, 5, id)
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		var n int
		const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
		require.NoError(t, pgtest.DB(t, nil).QueryRow(t.Context(), tables).Scan(&n))
		require.Zero(t, n)
	})
	t.Run("as durable as the product wants it", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, pg.CheckDurable(t.Context(), pgtest.DB(t, files())))
	})
}

func TestURL(t *testing.T) { //nolint:tparallel // what follows the subtest is the test
	t.Parallel()
	outer := t
	var address string
	t.Run("in use at the end of its test", func(t *testing.T) {
		address = pgtest.URL(t, files())
		conn, err := pgx.Connect(t.Context(), address)
		require.NoError(t, err)
		outer.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server has closed it long before
	})
	_, err := pgx.Connect(t.Context(), address)
	require.ErrorContains(t, err, "3D000", "dropped all the same")
}

// Several test binaries on one given server build the same template at the same time.
func TestDB_shared_server(t *testing.T) {
	t.Parallel()
	if os.Getenv("RECOURSE_TEST_DATABASE_URL") != "" {
		t.Skip("this is one of the binaries")
	}
	s, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: filepath.Join(pgtest.Dir(t), "pg")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	admin := pgtest.Pool(t, s.URL("postgres"))
	// As if a binary had been killed long ago.
	_, err = admin.Exec(t.Context(), "CREATE DATABASE recourse_test_1_abandoned")
	require.NoError(t, err)

	var g errgroup.Group
	for range 3 {
		g.Go(func() error {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDB$", "-test.count=1")
			cmd.Env = append(os.Environ(), "RECOURSE_TEST_DATABASE_URL="+s.URL("postgres"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())

	rows, err := admin.Query(t.Context(), "SELECT datname FROM pg_database WHERE starts_with(datname, 'recourse_')")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Len(t, names, 2, "one template for each set of files, and no test database is left: %v", names)
	for _, name := range names {
		require.True(t, strings.HasPrefix(name, "recourse_template_"), name)
		require.False(t, strings.HasSuffix(name, "_build"), name)
	}
}
