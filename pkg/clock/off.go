//go:build !crashpoints

package clock

import "time"

// Now is the wall clock.
func Now() time.Time { return time.Now() }
