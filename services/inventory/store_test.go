package inventory_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"recourse.dev/migrations"
	"recourse.dev/pkg/pgtest"
)

// Every statement of the package is prepared, so that none can name a column that is not there.
func TestStore_PreparesEveryStatement(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t, migrations.FS("inventory"))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	files, err := filepath.Glob("store*.go")
	require.NoError(t, err)
	prepared := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasSuffix(spec.Names[0].Name, "SQL") {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			require.True(t, ok, spec.Names[0].Name)
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			sql, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), conn.Conn(), text, nil)
			require.NoError(t, err)
			_, err = conn.Conn().Prepare(t.Context(), spec.Names[0].Name, sql)
			require.NoError(t, err, spec.Names[0].Name)
			prepared++
			return true
		})
	}
	require.Greater(t, prepared, 20)
}
