package overload_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/services/standalone/load"
	"recourse.dev/services/standalone/overload"
)

func TestRecovery(t *testing.T) {
	t.Parallel()
	from := time.Now()
	// Ten orders in each second; how long those of each second take.
	ends := func(took ...time.Duration) (list []load.End) {
		for second, d := range took {
			for i := range 10 {
				at := from.Add(time.Duration(second)*time.Second + time.Duration(i)*100*time.Millisecond)
				list = append(list, load.End{From: at, At: at.Add(d)})
			}
		}
		return list
	}
	const (
		fine = 100 * time.Millisecond
		slow = time.Second
	)
	for _, tt := range []struct {
		name    string
		ends    []load.End
		seconds float64
	}{
		{"at once", ends(fine, fine, fine, fine), 0},
		{"after two seconds", ends(slow, slow, fine, fine), 2},
		{"comes back", ends(slow, fine, slow, fine), 3},
		{"never", ends(slow, slow, slow, slow), 4},
		{"a little slower is normal", ends(fine*7/5, fine*7/5, fine, fine), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seconds, p99 := overload.Recovery(tt.ends, from, 4*time.Second, 100)
			require.InDelta(t, tt.seconds, seconds, 0)
			require.LessOrEqual(t, p99, 150.0)
		})
	}
}

func TestReport_says_what_is_wrong(t *testing.T) {
	t.Parallel()
	good := func() *overload.Report {
		return &overload.Report{
			GoodputRatio: 0.95, RecoverySeconds: 3, PeakMiB: map[string]int{"coordinator": 80},
			Down: overload.Down{Kinds: map[string]overload.Kind{"declined": {Up: 9, Down: 9, P95Up: 200, P95Down: 400}}},
		}
	}
	o := overload.Options{MaxMiB: 100, LeastGoodput: 0.9, MostRecovery: 10 * time.Second}
	r := good()
	overload.Judge(r, o)
	require.True(t, r.OK(), r.Wrong)
	r, o.Unbounded = good(), []string{"gatewaysim"}
	r.PeakMiB["gatewaysim"] = 400
	overload.Judge(r, o)
	require.True(t, r.OK(), "it keeps its books in memory")
	for name, spoil := range map[string]func(*overload.Report){
		"goodput":                     func(r *overload.Report) { r.GoodputRatio = 0.89 },
		"recovery":                    func(r *overload.Report) { r.RecoverySeconds = 11 },
		"memory":                      func(r *overload.Report) { r.PeakMiB["coordinator"] = 101 },
		"failures":                    func(r *overload.Report) { r.Failed = 1 },
		"a load that was not offered": func(r *overload.Report) { r.Accepted, r.Refused, r.Missed = 100, 800, 10 },
		"slow": func(r *overload.Report) {
			r.Down.Kinds["declined"] = overload.Kind{Up: 9, Down: 9, P95Up: 200, P95Down: 501}
		},
		"not seen":  func(r *overload.Report) { r.Down.Kinds["declined"] = overload.Kind{Up: 9} },
		"lost":      func(r *overload.Report) { r.Audit.Open = 1 },
		"different": func(r *overload.Report) { r.Audit.StockDifferences = 1 },
	} {
		r := good()
		spoil(r)
		overload.Judge(r, o)
		require.Len(t, r.Wrong, 1, name)
	}
}
