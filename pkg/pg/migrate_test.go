package pg_test

import (
	"net/url"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"recourse.dev/pkg/pg"
	"recourse.dev/pkg/pgtest"
)

func migrationFiles(texts map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, sql := range texts {
		files[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql + ";\n")}
	}
	return files
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	files := migrationFiles(map[string]string{
		"00001_thing.sql": "CREATE TABLE thing (id int PRIMARY KEY)",
		"00002_seed.sql":  "INSERT INTO thing VALUES (1)",
	})

	t.Run("once", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		require.ErrorContains(t, pg.CheckMigrated(t.Context(), pool, files), "run its migrate command")
		for _, want := range []int{2, 0} {
			applied, err := pg.Migrate(t.Context(), pool, files)
			require.NoError(t, err)
			require.Equal(t, want, applied)
			require.NoError(t, pg.CheckMigrated(t.Context(), pool, files))
		}
		older := migrationFiles(map[string]string{"00001_thing.sql": "CREATE TABLE thing (id int PRIMARY KEY)"})
		require.NoError(t, pg.CheckMigrated(t.Context(), pool, older), "the database may be ahead of the binary")
		require.Zero(t, pool.Stat().AcquiredConns())
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		url := pgtest.URL(t, nil)
		var g errgroup.Group
		counts := make(chan int, 6)
		for range cap(counts) {
			g.Go(func() error {
				n, err := pg.MigrateURL(t.Context(), url, files)
				counts <- n
				return err
			})
		}
		require.NoError(t, g.Wait())
		total := 0
		for range cap(counts) {
			total += <-counts
		}
		require.Equal(t, 2, total, "each migration was applied by exactly one")
	})
	t.Run("failing", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.DB(t, nil)
		applied, err := pg.Migrate(t.Context(), pool, migrationFiles(map[string]string{
			"00001_thing.sql":  "CREATE TABLE thing (id int PRIMARY KEY)",
			"00002_broken.sql": "CREATE TABLE other (id int); INSERT INTO missing VALUES (1)",
		}))
		require.ErrorContains(t, err, "00002_broken.sql")
		require.ErrorContains(t, err, "missing")
		require.Equal(t, 1, applied)
		var exists bool
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT to_regclass('other') IS NOT NULL").Scan(&exists))
		require.False(t, exists, "a migration is applied whole or not at all")
	})
	t.Run("no files", func(t *testing.T) {
		t.Parallel()
		_, err := pg.Migrate(t.Context(), pgtest.DB(t, nil), fstest.MapFS{})
		require.ErrorContains(t, err, "reading the migration files")
	})
}

func TestCreateDatabase(t *testing.T) {
	t.Parallel()
	admin := pgtest.URL(t, nil)
	const name = `odd "name" of CreateDatabase`
	t.Cleanup(func() { dropDatabase(t, admin, name) })

	var g errgroup.Group
	for range 5 {
		g.Go(func() error { return pg.CreateDatabase(t.Context(), admin, name) })
	}
	require.NoError(t, g.Wait())
	require.NoError(t, pg.CreateDatabase(t.Context(), admin, name), "again")

	u, err := url.Parse(admin)
	require.NoError(t, err)
	u.Path = "/" + name
	pgtest.Pool(t, u.String())
}
