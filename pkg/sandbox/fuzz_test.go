package sandbox_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/sandbox"
)

// FuzzRule reads arbitrary fault rules as the admin API does: what is taken can be listed, means the same when it is
// sent again, and never makes a plan that no provider can carry out.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"kind": "drop_after", "route": "create", "probability": 1}`,
		`{"kind": "delay", "route": "*", "delay_ms": 1000, "probability": 0.5, "count": 3}`,
		`{"kind": "delay", "route": "buy", "delay_ms": 9223372036854775807}`, `{"kind": "late", "route": "webhook"}`,
		`{"kind": "status_500", "route": "*"}{"kind": "delay"}`, `{"kind": "\u0000", "count": -1, "probability": 1e400}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var rule sandbox.Rule
		if err := sandbox.DecodeStrict(body, &rule); err != nil {
			return
		}
		faults := sandbox.NewFaults(1, "create", "buy")
		if err := faults.Set(rule); err != nil {
			require.NotEmpty(t, err.Error())
			require.Empty(t, faults.Rules())
			return
		}
		listed, err := json.Marshal(faults.Rules()[0])
		require.NoError(t, err)
		var again sandbox.Rule
		require.NoError(t, sandbox.DecodeStrict(listed, &again), "%s", listed)
		require.NoError(t, sandbox.NewFaults(1, "create", "buy").Set(again))
		plan := faults.Take("create")
		for _, wait := range []time.Duration{plan.Late, plan.Slow, plan.Overtaken} {
			require.GreaterOrEqual(t, wait, time.Duration(0))
			require.LessOrEqual(t, wait, 10*time.Minute)
		}
	})
}
