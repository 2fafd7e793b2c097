package service_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/service"
)

// FuzzLoadEnv gives arbitrary values to known and unknown settings. A configuration is complete or refused, a refusal
// names a setting, and no secret stands in it.
func FuzzLoadEnv(f *testing.F) {
	f.Add("postgres://u:swordfish@h/d", "3", "20s", "EXTRA", "x")
	f.Add("", "many", "-1s", "DATABASE_URL_FILE", "/nowhere")
	f.Add("\x00swordfish", "0", "9e99h", "=", "\xff")
	f.Add("swordfish", "3", "1s", "NESTED_LIMIT", "${WORKERS}")
	f.Fuzz(func(t *testing.T, secret, workers, drain, name, value string) {
		if strings.HasSuffix(name, "_FILE") && value != "/nowhere" {
			t.Skip("no reading of arbitrary files")
		}
		c, err := service.LoadEnv[config]([]string{
			"DATABASE_URL=" + secret, "WORKERS=" + workers, "DRAIN_TIMEOUT=" + drain, name + "=" + value,
		})
		if err == nil {
			require.Positive(t, c.Workers)
			require.NotEmpty(t, c.DatabaseURL.Reveal())
			return
		}
		named := []string{"DATABASE_URL", "WORKERS", "DRAIN_TIMEOUT", "NESTED_LIMIT", "LOG_LEVEL", "LOG_FORMAT", "HTTP_ADDR"}
		require.True(t, slices.ContainsFunc(named, func(s string) bool { return strings.Contains(err.Error(), s) }), "%v", err)
		if len(secret) > 8 && !strings.Contains(workers+drain+name+value, secret) {
			require.NotContains(t, err.Error(), secret)
		}
	})
}
