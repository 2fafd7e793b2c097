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

// partLabel is the label of profiles.
const partLabel = "part"

// as runs do, and every goroutine that comes of it, under the part's name.
func as(ctx context.Context, part string, do func(context.Context)) {
	pprof.Do(ctx, pprof.Labels(partLabel, part), do)
}
