package service_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/service"
)

func TestLoadEnv(t *testing.T) {
	t.Parallel()
	c, err := service.LoadEnv[config]([]string{
		"DATABASE_URL=postgres://h/d?a=b", "WORKERS=9", "DRAIN_TIMEOUT=3s", "NESTED_LIMIT=7", "LOG_LEVEL=",
	})
	require.NoError(t, err)
	require.Equal(t, "postgres://h/d?a=b", c.DatabaseURL.Reveal())
	require.Equal(t, 9, c.Workers)
	require.Equal(t, 3*time.Second, c.DrainTimeout)
	require.Equal(t, 7, c.Nested.Limit)
	require.Equal(t, "info", c.LogLevel, "empty means not given")
}

func TestLoadEnv_names_every_fault(t *testing.T) {
	t.Parallel()
	_, err := service.LoadEnv[config]([]string{"WORKERS=many", "DRAIN_TIMEOUT=soon", "NESTED_LIMIT=1.5", "DATABASE_URL="})
	require.ErrorContains(t, err, "DATABASE_URL is required and not set")
	require.ErrorContains(t, err, `WORKERS="many"`)
	require.ErrorContains(t, err, `DRAIN_TIMEOUT="soon"`)
	require.ErrorContains(t, err, `NESTED_LIMIT="1.5"`)

	_, err = service.LoadEnv[config]([]string{"WORKERS=0", "DATABASE_URL=x"})
	require.ErrorContains(t, err, "WORKERS=0: want more than 0")
}

func TestLoadEnv_secret_in_a_file(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(path, []byte("postgres://from/file\n"), 0o600))
	c, err := service.LoadEnv[config]([]string{"DATABASE_URL_FILE=" + path})
	require.NoError(t, err)
	require.Equal(t, "postgres://from/file", c.DatabaseURL.Reveal())

	c, err = service.LoadEnv[config]([]string{"DATABASE_URL_FILE=" + path, "DATABASE_URL=given"})
	require.NoError(t, err)
	require.Equal(t, "given", c.DatabaseURL.Reveal())

	_, err = service.LoadEnv[config]([]string{"DATABASE_URL_FILE=" + path + "x"})
	require.ErrorContains(t, err, "DATABASE_URL_FILE")
}

func TestSecret_is_never_printed(t *testing.T) {
	t.Parallel()
	const secret = service.Secret("hunter2")
	wrongVerb := "%d %t"
	holder := struct{ Password service.Secret }{secret}
	var text, structured bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "secret", secret, "holder", holder, "pointer", &holder)
	slog.New(slog.NewJSONHandler(&structured, nil)).Info("x", "secret", secret, "holder", holder, "pointer", &holder)
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	for _, printed := range []string{
		text.String(), structured.String(), string(encoded), secret.String(),
		fmt.Sprintf("%s %v %q %x %#v %+v %#v", secret, secret, secret, secret, secret, holder, holder),
		fmt.Sprintf(wrongVerb, secret, secret),
		fmt.Errorf("wrong: %v", secret).Error(),
	} {
		require.NotContains(t, printed, "hunter2")
		require.NotContains(t, printed, "68756e74657232")
		require.NotContains(t, printed, "104 117")
	}
	require.Contains(t, text.String(), "***")
	require.Empty(t, service.Secret("").String())
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := service.Logger(&out, "json", "warn")
	require.NoError(t, err)
	log.Info("too quiet")
	log.With("a", 1).WithGroup("g").Warn("heard", "b", 2)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &fields))
	require.Equal(t, "heard", fields["msg"])
	require.Equal(t, map[string]any{"b": 2.0}, fields["g"])
	_, err = service.Logger(&out, "yaml", "info")
	require.ErrorContains(t, err, `LOG_FORMAT="yaml"`)
}
