//go:build crashpoints && !unix

package crash

import "time"

// stall holds up one goroutine only, where a process cannot be stopped.
func stall(length time.Duration) { time.Sleep(length) }
