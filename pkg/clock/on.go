//go:build crashpoints

package clock

import (
	"os"
	"strings"
	"sync"
	"time"
)

// readEvery is how old a reading of the file may be.
const readEvery = 100 * time.Millisecond

// offset is what the file said last.
var offset = struct {
	path string
	mu   sync.Mutex
	read time.Time
	by   time.Duration
}{path: os.Getenv(EnvVar)}

// Now is the wall clock, moved by what the file says. It has no monotonic reading then, because a difference to a reading
// before the step is a difference of the wall.
func Now() time.Time {
	now := time.Now()
	if offset.path == "" {
		return now
	}
	offset.mu.Lock()
	defer offset.mu.Unlock()
	if now.Sub(offset.read) >= readEvery {
		offset.read = now
		offset.by = readOffset(offset.path, offset.by)
	}
	return now.Round(0).Add(offset.by)
}

// readOffset keeps the last offset while a file is half written.
func readOffset(path string, last time.Duration) time.Duration {
	content, err := os.ReadFile(path)
	text := strings.TrimSpace(string(content))
	if err != nil || text == "" {
		return 0
	}
	by, err := time.ParseDuration(text)
	if err != nil {
		return last
	}
	return by
}
