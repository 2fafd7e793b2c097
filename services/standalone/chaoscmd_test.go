package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	main "recourse.dev/services/standalone"
)

func TestChaos_WrongFlagsAreOneLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("no plan"), 0o600))
	for _, c := range []struct{ name, args, want string }{
		{"no Kafka", "--kafka-home=", "unpack Apache Kafka (kafka.apache.org/downloads) and give its directory with --kafka-home"},
		{"no Kafka there", "--kafka-home " + dir, "no Kafka there: want a directory with libs/kafka_*.jar"},
		{"minutes and sagas", "--minutes 1 --sagas 5", "leave --sagas and --faults out"},
		{"no minutes", "--minutes 0", "--minutes 0: want 1 to 10000"},
		{"no sagas", "--sagas 0", "--sagas 0: want 1"},
		{"negative faults", "--faults -1", "--faults -1: want 0"},
		{"no plan", "replay " + dir + "/none", "no such file"},
		{"not a plan", "replay " + dir + "/file", "it is no plan of `recourse chaos`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			status := main.Run(t.Context(), append([]string{"chaos"}, strings.Fields(c.args)...), &stdout, &stderr)
			require.Equal(t, 1, status)
			require.Empty(t, stdout.String())
			require.Contains(t, stderr.String(), c.want)
			require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		})
	}
}
