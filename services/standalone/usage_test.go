package main_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	main "recourse.dev/services/standalone"
)

// What is wrong with a command line is said in one line, which names what was given and what is wanted, and nothing is
// started.
func TestUsage_WrongFlagsAreOneLine(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "no", "report.json")
	for _, c := range []struct{ name, args, want string }{
		{"no such command", "nosuch", `unknown command "nosuch"`},
		{"no such service", "serve nosuch", `invalid argument "nosuch"`},
		{"report", "demo --report " + nowhere, "--report " + nowhere + " cannot be written"},
		{"no orders", "demo --orders 0", "--orders 0: want 1 to 1000000"},
		{"no number", "demo --orders many", `invalid argument "many" for "--orders"`},
		{"other PostgreSQL", "demo --postgres 12", `--postgres "12": leave it out, or say "newest"`},
		{"no database URL", "dev --ephemeral --random-ports --database-url mine", "write it as postgres://"},
		{"no address of a broker", "dev --ephemeral --kafka mine", `--kafka "mine": want host:port`},
		{"no broker", "demo --kafka 127.0.0.1:1", "no Kafka answers at --kafka 127.0.0.1:1"},
		{"kept nowhere", "dev --ephemeral --data-dir x", "leave one of them out"},
		{"sim workers", "sim --seeds 1 --workers -1", "--workers -1: want 0 or more"},
		{"sim seeds", "sim --seeds -1", `invalid argument "-1" for "--seeds"`},
		{"no workload", "bench", "bench wants one WORKLOAD: three-step, fulfilment, http, hot-sku"},
		{"no such workload", "bench nosuch", `there is no workload "nosuch"; take one of three-step`},
		{"no rate", "bench three-step --rate 0", "--rate 0: want more than that"},
		{"negative rate", "bench three-step --rate -1", "--rate -1: want 0.1 to 1000000"},
		{"no sagas", "bench http --sagas 0", "--sagas 0: want more than that"},
		{"no broker for the bench", "bench three-step --kafka 127.0.0.1:1", "no Kafka answers at --kafka 127.0.0.1:1"},
		{"limit of no figure", "bench three-step --at-most speed=1", `--at-most: a report has no figure "speed"; it has commits_saga`},
		{"limit that is no number", "bench three-step --at-least hot_share=most", "--at-least hot_share=most: want a number"},
		{"no coordinators", "bench three-step --coordinators 0", "--coordinators 0: want more than that"},
		{"many coordinators", "bench three-step --coordinators 13", "--coordinators 13: want 1 to 12"},
		{"coordinators elsewhere", "bench fulfilment --coordinators 2", "--coordinators is about three-step"},
		{"waiting orders elsewhere", "bench http --waiting 5", "--waiting is about three-step"},
		{"negative waiting orders", "bench three-step --waiting -1", "--waiting -1: want 0 to 1000000"},
		{"finished orders elsewhere", "bench http --finished 5", "--finished is about the databases of three-step"},
		{"negative finished orders", "bench three-step --finished -1", "--finished -1: want 0 to"},
		{"bench report", "bench three-step --report " + nowhere, "--report " + nowhere + " cannot be written"},
		{"bench profile", "bench three-step --cpuprofile " + nowhere, "--cpuprofile " + nowhere + " cannot be written"},
		{"explore workers", "explore --only alone --workers -1", "--workers -1, --max-states 0: want 0 or more"},
		{"explore definition", "explore --only nosuch", `there is no definition "nosuch"; --only takes one of`},
		{"audit URL", "audit conservation --server ftp://shop", `--server "ftp://shop": want a URL`},
		{"audit of nobody", "audit conservation --server http://127.0.0.1:1", "no coordinator answers at http://127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			status := main.Run(t.Context(), strings.Fields(c.args), &stdout, &stderr)
			require.Contains(t, []int{1, 2}, status)
			if strings.HasPrefix(c.args, "bench") {
				require.Equal(t, 2, status)
			}
			require.Contains(t, stderr.String(), c.want)
			require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		})
	}
}
