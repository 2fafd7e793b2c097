package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"recourse.dev/pkg/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type config struct {
	service.Settings
	DatabaseURL service.Secret `env:"DATABASE_URL,required"`
	Workers     int            `env:"WORKERS" envDefault:"4"`
	Nested      nested         `envPrefix:"NESTED_"`
}

type nested struct {
	Limit int `env:"LIMIT" envDefault:"1"`
}

func (c config) Validate() error {
	if c.Workers < 1 {
		return fmt.Errorf("WORKERS=%d: want 1 or more", c.Workers)
	}
	return nil
}

// execute runs a program as the process would and returns its status and what it wrote.
func execute(t *testing.T, program service.Program[config], args []string, environ ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := service.Execute(t.Context(), "inventory", program, args, environ, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestExecute_serve(t *testing.T) {
	t.Parallel()
	var got config
	program := service.Program[config]{
		HTTPAddr: "127.0.0.1:8081",
		Serve: func(ctx context.Context, c config, log *slog.Logger) error {
			got = c
			log.InfoContext(ctx, "serving")
			return nil
		},
	}
	code, _, stderr := execute(t, program, []string{"serve"}, "DATABASE_URL=postgres://u:hunter2@h/d", "HTTP_ADDR=")
	require.Zero(t, code, stderr)
	require.Equal(t, "127.0.0.1:8081", got.HTTPAddr)
	require.Equal(t, 4, got.Workers)
	require.Equal(t, "postgres://u:hunter2@h/d", got.DatabaseURL.Reveal())
	require.NotContains(t, stderr, "hunter2")
	for _, line := range strings.Split(strings.TrimSpace(stderr), "\n") {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		require.Equal(t, "inventory", fields["service"])
	}

	code, _, _ = execute(t, program, []string{"serve"}, "DATABASE_URL=x", "HTTP_ADDR=127.0.0.1:9000")
	require.Zero(t, code)
	require.Equal(t, "127.0.0.1:9000", got.HTTPAddr)
}

func TestExecute_refuses_and_says_why(t *testing.T) {
	t.Parallel()
	program := service.Program[config]{
		Serve:   func(context.Context, config, *slog.Logger) error { return errors.New("the pump is dry") },
		Migrate: func(context.Context, config, *slog.Logger) error { return nil },
	}
	for _, test := range []struct {
		name    string
		args    []string
		environ []string
		code    int
		want    string
	}{
		{"no command", nil, nil, 2, "usage: inventory COMMAND"},
		{"unknown command", []string{"dance"}, nil, 2, "usage: inventory COMMAND"},
		{"missing setting", []string{"serve"}, nil, 2, "DATABASE_URL is required and not set"},
		{"log level", []string{"serve"}, []string{"LOG_LEVEL=loud"}, 2, `LOG_LEVEL=\"loud\"`},
		{"log format", []string{"migrate"}, []string{"LOG_FORMAT=xml"}, 2, "want json or text"},
		{"work fails", []string{"serve"}, []string{"DATABASE_URL=x"}, 1, "the pump is dry"},
		{"bad address", []string{"healthcheck"}, []string{"HTTP_ADDR=nonsense"}, 1, `HTTP_ADDR=\"nonsense\"`},
		{"free port", []string{"healthcheck"}, nil, 1, "with the port that the service listens on"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := execute(t, program, test.args, test.environ...)
			require.Equal(t, test.code, code, stderr)
			require.Contains(t, strings.ReplaceAll(stderr, `"`, `\"`), strings.ReplaceAll(
				strings.ReplaceAll(test.want, `\"`, `"`), `"`, `\"`))
		})
	}
}

func TestExecute_version_and_help(t *testing.T) {
	t.Parallel()
	code, stdout, _ := execute(t, service.Program[config]{}, []string{"version"})
	require.Zero(t, code)
	var build service.Build
	require.NoError(t, json.Unmarshal([]byte(stdout), &build))
	require.NotEmpty(t, build.Version)
	require.NotEmpty(t, build.Go)
	require.NotEmpty(t, build.String())

	code, stdout, _ = execute(t, service.Program[config]{}, []string{"help"})
	require.Zero(t, code)
	require.Contains(t, stdout, "healthcheck")
	code, _, stderr := execute(t, service.Program[config]{}, []string{"migrate"})
	require.Zero(t, code)
	require.Contains(t, stderr, "nothing to migrate")
}

func TestExecute_healthcheck(t *testing.T) {
	t.Parallel()
	ready := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "database: away")
		}
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	for _, host := range []string{addr, strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1), strings.TrimPrefix(addr, "127.0.0.1")} {
		code, _, stderr := execute(t, service.Program[config]{}, []string{"healthcheck"}, "HTTP_ADDR="+host)
		require.Zero(t, code, stderr)
	}
	ready = false
	code, _, stderr := execute(t, service.Program[config]{}, []string{"healthcheck"}, "HTTP_ADDR="+addr)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "503")
	require.Contains(t, stderr, "database: away")
	http.DefaultClient.CloseIdleConnections()
}
