package bench_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"recourse.dev/pkg/pgtest"
	"recourse.dev/services/standalone/bench"
)

// play runs a small workload in a directory of its own, of which nothing may be left.
func play(t *testing.T, o bench.Options) *bench.Report {
	t.Helper()
	o.Dir = pgtest.Dir(t)
	r, err := bench.Run(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, r.Wrong)
	require.True(t, r.Conservation)
	require.False(t, r.Stopped)
	requireNothingLeft(t, o.Dir)
	return r
}

func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return // not on Linux
	}
	for _, p := range processes {
		// A process that has ended meanwhile is none of the run's.
		command, _ := os.ReadFile("/proc/" + p.Name() + "/cmdline")
		require.NotContains(t, string(command), dir)
	}
}

func TestRun_three_step(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 300, Warmup: 100, InFlight: 100})
	require.Equal(t, 300, r.Sagas)
	require.Equal(t, 255, r.Completed, "of each hundred fifteen are undone")
	require.Equal(t, 45, r.Compensated)
	require.Equal(t, "embedded", r.Broker)
	requireFigures(t, r)
	for _, name := range []string{"intake", "reply", "inventory", "payment", "shipping"} {
		require.Greater(t, r.Batches[name], 1.0, name)
	}
	require.Greater(t, r.HotShare, 0.0)
}

// requireFigures wants every figure of a closed loop, and that the parts are no more than their sum.
func requireFigures(t *testing.T, r *bench.Report) {
	t.Helper()
	for name, figure := range map[string]float64{
		"sagas_per_s": r.SagasPerS, "p50": r.P50, "p95": r.P95, "p99": r.P99, "p999": r.P999, "answer": r.Answer.P50,
		"cpu": r.CPU["total"], "postgres": r.CPU["postgres"], "own_cores": r.OwnCores, "wal": r.WAL,
		"allocs": r.Allocs, "bytes": r.AllocBytes, "rows": r.RowWrites, "commits": r.Commits, "rss": r.PeakRSS,
	} {
		require.Greater(t, figure, 0.0, name)
	}
	require.GreaterOrEqual(t, r.P99, r.P50)
	require.Len(t, r.Memory, 10)
	for _, tenth := range r.Memory {
		require.Greater(t, tenth, 1.0)
		require.LessOrEqual(t, tenth, r.PeakRSS+2, "the kernel counts them apart")
	}
	sum := 0.0
	for part, ms := range r.CPU {
		if part != "total" {
			sum += ms
		}
	}
	require.LessOrEqual(t, sum, r.CPU["total"]*1.01)
}

func TestRun_report_is_JSON_with_its_fields(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 50, Waits: true, Seed: 7})
	line, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(line, &fields))
	for _, name := range []string{
		"workload", "sagas", "seconds", "sagas_per_s", "p50_ms", "p95_ms", "p99_ms", "p999_ms", "completed", "compensated",
		"cpu_ms_saga", "wal_bytes_saga", "row_writes_saga", "commits_saga", "hot_share", "database_bytes_saga", "batch",
		"go_allocs_saga", "go_bytes_saga", "peak_rss_mib", "rss_mib_tenths", "rss_growth_mib", "broker", "conservation", "stopped",
	} {
		require.Contains(t, fields, name)
	}
	for _, part := range []string{"coordinator", "workers", "broker", "postgres", "generator", "runtime", "total"} {
		require.Contains(t, fields["cpu_ms_saga"], part)
	}
	if len(r.Statements) == 0 { // a PostgreSQL without its extensions
		require.Contains(t, strings.Join(r.Notes, "\n"), "pg_stat_statements")
	}
	var table strings.Builder
	r.Print(&table)
	require.Contains(t, table.String(), "everything adds up")
}

// Orders that wait for a dead worker end when it is back, and others end meanwhile.
func TestRun_waiting(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 200, InFlight: 100, Waiting: 1000})
	require.Equal(t, 200, r.Compensated)
	require.Equal(t, 200, r.Waiting.Alone.Compensated)
	require.Positive(t, r.WaitingCPU)
	require.Positive(t, r.WaitingRate)
	require.Greater(t, r.DrainedPerS, 1.0)
}

// Several of each share the work, and no effect is lost or doubled.
func TestRun_several_of_each(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 300, InFlight: 100, Coordinators: 2, Workers: 3})
	require.Equal(t, 300, r.Sagas)
	require.Equal(t, 255, r.Completed)
}

// Orders that have ended long ago lie beside those that are measured, and are left out of every count.
func TestRun_finished(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 200, InFlight: 100, Finished: 3000})
	require.Equal(t, 200, r.Sagas)
	require.Equal(t, 3000, r.Finished)
	require.Less(t, r.RowWrites, 30.0, "the filling does not count")
	require.Greater(t, r.RowWrites, 5.0)
}

func TestRun_open_loop(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Sagas: 200, Rate: 200, Warmup: 20})
	require.Equal(t, 200, r.Sagas)
	require.Equal(t, "open", r.Loop)
	require.Zero(t, r.Missed)
	require.GreaterOrEqual(t, r.Seconds, 0.99, "they were due over a second")
}

func TestRun_duration(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.ThreeStep, Duration: 500 * time.Millisecond, InFlight: 50})
	require.Positive(t, r.Sagas)
	require.GreaterOrEqual(t, r.Seconds, 0.4)
}

func TestRun_fulfilment(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.Fulfilment, Sagas: 200, Warmup: 20, InFlight: 100})
	require.Equal(t, 170, r.Completed)
	require.Equal(t, 30, r.Compensated)
	requireFigures(t, r)
	require.Positive(t, r.Batches["notification"])
	require.Positive(t, r.Services["payment"]+r.Services["inventory"]+r.Services["shipping"])
}

func TestRun_http(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.HTTP, Sagas: 200, InFlight: 100})
	require.Equal(t, 170, r.Completed)
	for _, intake := range []*bench.Intake{r.Intake, r.IntakeAlone} {
		require.Equal(t, 200, intake.Sagas)
		require.Greater(t, intake.AcceptedPerS, intake.SagasPerS)
		require.Positive(t, intake.P99)
		require.Positive(t, intake.CPU["total"])
	}
}

func TestRun_intake(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.IntakeOnly, Sagas: 300, Warmup: 20, InFlight: 50})
	require.Equal(t, 255, r.Completed)
	requireFigures(t, r)
	require.Equal(t, 300, r.IntakeAlone.Sagas)
	require.Greater(t, r.IntakeAlone.AcceptedPerS, r.IntakeAlone.SagasPerS)
	require.Zero(t, r.CPU["workers"], "they are stopped meanwhile")
}

func TestRun_hot_sku(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.HotSKU, Sagas: 200, InFlight: 100, Workers: 4})
	require.Equal(t, 170, r.Completed)
	require.Equal(t, 170, r.Spread.Completed)
	require.Positive(t, r.Ratio)
}

func TestRun_hot_sku_never_oversells(t *testing.T) {
	t.Parallel()
	r := play(t, bench.Options{Workload: bench.HotSKU, Sagas: 200, InFlight: 100, Workers: 2, Stock: 40})
	require.LessOrEqual(t, r.Completed, 40)
	require.Positive(t, r.Completed)
	require.Equal(t, 200, r.Completed+r.Compensated)
}

func TestRun_stopped_says_what_it_measured(t *testing.T) {
	t.Parallel()
	for _, workload := range []string{bench.ThreeStep, bench.Fulfilment} {
		dir := pgtest.Dir(t)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := bench.Run(ctx, bench.Options{
			Workload: workload, Duration: time.Hour, InFlight: 50, Dir: dir,
			Progress: func(format string, _ ...any) {
				if format == "measuring" {
					time.AfterFunc(time.Second, cancel)
				}
			},
		})
		require.NoError(t, err)
		require.True(t, r.Stopped)
		require.False(t, r.Conservation)
		require.Positive(t, r.Sagas)
		require.Positive(t, r.SagasPerS)
		requireNothingLeft(t, dir)
	}
}

func TestRun_stopped_before_it_measures(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"starting a PostgreSQL for this run", "starting the platform", "ready after %.1f s"} {
		dir := pgtest.Dir(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := bench.Run(ctx, bench.Options{
			Workload: bench.ThreeStep, Dir: dir, Warmup: 1000,
			Progress: func(format string, _ ...any) {
				if format == at {
					cancel()
				}
			},
		})
		require.Error(t, err, at)
		requireNothingLeft(t, dir)
	}
}

func TestOptions_what_cannot_work(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		o          bench.Options
	}{
		{"workload", `no workload "two-step"`, bench.Options{Workload: "two-step"}},
		{"sagas", "--sagas -1", bench.Options{Sagas: -1}},
		{"duration", "--duration 1ms", bench.Options{Duration: time.Millisecond}},
		{"both ends", "leave one of them out", bench.Options{Sagas: 1, Duration: time.Minute}},
		{"in flight", "--in-flight -3", bench.Options{InFlight: -3}},
		{"rate", "--rate -5", bench.Options{Rate: -5}},
		{"both loops", "leave one of them out", bench.Options{Rate: 5, InFlight: 5}},
		{"warmup", "--warmup -1", bench.Options{Warmup: -1}},
		{"workers", "--workers 13", bench.Options{Workload: bench.HotSKU, Workers: 13}},
		{"coordinators", "--coordinators -1", bench.Options{Coordinators: -1}},
		{"connections", "--in-flight 2001", bench.Options{Workload: bench.IntakeOnly, InFlight: 2001}},
		{"no room", "--sagas 200001", bench.Options{Workload: bench.IntakeOnly, Sagas: 200_001}},
		{"no stock", "--stock is about the SKU", bench.Options{Stock: 4}},
		{"broker's process", "--kafka-pid names the broker", bench.Options{KafkaPID: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.o.Workload == "" {
				tt.o.Workload = bench.ThreeStep
			}
			require.ErrorContains(t, tt.o.Validate(), tt.want)
		})
	}
}
