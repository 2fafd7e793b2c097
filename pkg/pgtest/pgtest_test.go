package pgtest_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func files() fstest.MapFS {
	return fstest.MapFS{"00001_thing.sql": {Data: []byte("-- +goose Up\nCREATE TABLE thing (id int PRIMARY KEY);\n")}}
}

func TestX(t *testing.T) {
	b := time.Now()
	for i := 0; i < 20; i++ {
		t.Run("x", func(t *testing.T) {
			pool := pgtest.DB(t, files())
			_, err := pool.Exec(t.Context(), "INSERT INTO thing VALUES (1)")
			require.NoError(t, err)
		})
		t.Log(time.Since(b))
		b = time.Now()
	}
}
