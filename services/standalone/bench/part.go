package bench

import (
	"context"
	"runtime/pprof"
)

// The parts of this process, as cpu_ms_saga names them.
const (
	partCoordinator = "coordinator"
	partWorkers     = "workers"
	partProviders   = "providers"
	partBroker      = "broker"
	partGenerator   = "generator"
	// partRuntime is what carries no label.
	partRuntime = "runtime"
)

// The labels of profiles: the part, and within it the service.
const (
	partLabel   = "part"
	memberLabel = "member"
)

// as runs do, and every goroutine that comes of it, under the part's name.
func as(ctx context.Context, part string, do func(context.Context)) {
	pprof.Do(ctx, pprof.Labels(partLabel, part), do)
}

var (
	coordinating = pprof.WithLabels(context.Background(), pprof.Labels(partLabel, partCoordinator))
	generating   = pprof.WithLabels(context.Background(), pprof.Labels(partLabel, partGenerator))
)

// asCoordinator is what the generator does for every order as the coordinator's part. Its labels are made once: a CPU
// profile keeps an entry for each set that it meets, and sets that are made anew let it grow with every order (13 kB a
// second at 5,000 orders a second, and that was taken for the platform's memory).
func asCoordinator(do func()) {
	pprof.SetGoroutineLabels(coordinating)
	defer pprof.SetGoroutineLabels(generating)
	do()
}

// member runs do under the name of a service as well.
func member(ctx context.Context, name string, do func()) {
	pprof.Do(ctx, pprof.Labels(memberLabel, name), func(context.Context) { do() })
}
