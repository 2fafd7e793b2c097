package service

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow by 1.75 times what lives in it before it is collected. What a service keeps is little, a few
// tens of megabytes, and what it allocates for each order is much: at Go's own 100 the collector took an eighth of all CPU
// time of a saga, at 200 half of that, for 70 MiB more in the process that runs the whole platform. That one is to stay
// below 300 MiB.
const gcPercent = 175

// TuneGC is called by every main first. GOGC in the environment wins, and GOMEMLIMIT bounds the heap all the same.
func TuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
