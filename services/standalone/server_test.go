package main_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	main "recourse.dev/services/standalone"
)

func TestDemoServer_WrongFlagsAreOneLine(t *testing.T) {
	t.Parallel()
	// A server that is there and is nothing of ours.
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())

	for _, c := range []struct {
		name, args, want string
	}{
		{"no URL", "--server localhost:8080", `--server "localhost:8080": want a URL such as http://127.0.0.1:8080`},
		{"empty", "--server=", `--server "": want a URL`},
		{"nobody there", "--server " + nobody, "no coordinator answers at " + nobody},
		{"somebody else", "--server " + other.URL, "what answers at " + other.URL + " is no coordinator"},
		{"no port", "--server http://127.0.0.1", "give --inventory URL"},
		{"wrong part", "--server " + other.URL + " --payment payment", `--payment "payment": want a URL`},
		{"part without server", "--gateway " + other.URL, "--gateway is about a running system"},
		{"two systems", "--server " + other.URL + " --kafka 127.0.0.1:9092", "leave one of them out"},
		{"negative time", "--over -1s", "--over -1s: want a duration above 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			status := main.Run(t.Context(), append([]string{"demo"}, strings.Fields(c.args)...), &stdout, &stderr)
			require.Equal(t, 1, status)
			require.Empty(t, stdout.String())
			require.Contains(t, stderr.String(), c.want)
			require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		})
	}
}
