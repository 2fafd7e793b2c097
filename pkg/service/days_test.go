package service_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/service"
)

func TestDays(t *testing.T) {
	t.Parallel()
	type config struct {
		Keep service.Days `env:"KEEP" envDefault:"45d"`
	}
	for _, test := range []struct {
		text string
		want time.Duration
		says string
	}{
		{"", 45 * 24 * time.Hour, "45d"},
		{"1d", 24 * time.Hour, "1d"},
		{"36h", 36 * time.Hour, "36h0m0s"},
		{"48h", 48 * time.Hour, "2d"},
	} {
		c, err := service.LoadEnv[config]([]string{"KEEP=" + test.text})
		require.NoError(t, err, test.text)
		require.Equal(t, test.want, c.Keep.Duration(), test.text)
		require.Equal(t, test.says, c.Keep.String())
	}
	for _, wrong := range []string{"d", "-1d", "1.5d", "soon", "99999d"} {
		_, err := service.LoadEnv[config]([]string{"KEEP=" + wrong})
		require.ErrorContains(t, err, "KEEP", wrong)
		require.ErrorContains(t, err, "45d", wrong)
	}
	_, err := service.LoadEnv[config]([]string{"KEEP=0s"})
	require.ErrorContains(t, err, "KEEP=0s: want more than 0")
}
