package service

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow by twice what lives in it before it is collected. What a service keeps is little, a few tens
// of megabytes, and what it allocates for each order is much: at Go's own 100 the collector took an eighth of all CPU time
// of a saga, here half of that. The process that runs the whole platform is to stay below 300 MiB.
const gcPercent = 200

// TuneGC is called by every main first. GOGC in the environment wins, and GOMEMLIMIT bounds the heap all the same.
func TuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
