package pgserver

import (
	"reflect"
	"testing"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/stretchr/testify/require"
)

// The library's default is its newest release, and only readable this way.
func TestEmbeddedNewest_is_the_librarys(t *testing.T) {
	t.Parallel()
	libs := reflect.ValueOf(embeddedpostgres.DefaultConfig()).FieldByName("version").String()
	require.Equal(t, libs, string(embeddedNewest()), "the library has moved on: add its new release in download.go")
	for major := MinMajor; major <= NewestMajor(); major++ {
		v, ok := embeddedByMajor(major)
		require.True(t, ok)
		require.Equal(t, major, majorOf(v))
	}
}
