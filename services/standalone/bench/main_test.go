package bench_test

import (
	"testing"

	"recourse.dev/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
