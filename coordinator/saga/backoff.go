package saga

import "time"

// wait is how long an answer is waited for: First, plus a random part of a
// range that doubles with every attempt up to Max. The part is the whole range
// wide (full jitter), so that orders that met the same outage do not come back
// in step.
func wait(r Retry, attempt uint32, random uint64) time.Duration {
	grown := r.First
	for i := uint32(1); i < attempt && grown < r.Max; i++ {
		grown *= 2
	}
	grown = min(grown, r.Max)
	return r.First + time.Duration(random%uint64(grown)).Truncate(time.Microsecond)
}

// jitter is a pseudo-random number that depends only on what is being sent, so
// that Decide stays a function.
func jitter(s *Saga, step int, op Op, attempt uint32) uint64 {
	const prime = 1099511628211 // FNV-1a
	h := uint64(14695981039346656037)
	for _, b := range s.ID {
		h = (h ^ uint64(b)) * prime
	}
	h = (h ^ uint64(step)) * prime
	h = (h ^ uint64(op)) * prime
	h = (h ^ uint64(attempt)) * prime
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
