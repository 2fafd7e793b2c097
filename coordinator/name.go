package coordinator

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// names gives orders and their sagas UUIDv7s, each greater than the one before: lists go by them. Their time is the
// database's: by the clock of a machine that is behind, an id could be under the mark, where no scan would find the saga.
// But what a process knows of the database's clock goes back by a round trip at times, and then the last id counts on.
type names struct {
	mu sync.Mutex
	// last is the time of the last id: 48 bits of milliseconds and 12 bits of their fraction (RFC 9562, 6.2, method 3).
	last uint64
}

func (n *names) next(now time.Time) (uuid.UUID, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return id, fmt.Errorf("naming an order: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	micros := uint64(max(0, now.UnixMicro()))
	n.last = max(micros/1000<<12|micros%1000<<12/1000, n.last+1)
	stamp(&id, n.last)
	return id, nil
}

// firstIDOf is the lowest UUIDv7 of a millisecond.
func firstIDOf(t time.Time) uuid.UUID {
	id := uuid.UUID{8: 0x80}
	stamp(&id, uint64(max(0, t.UnixMilli()))<<12)
	return id
}

// stamp writes the first eight bytes: milliseconds, version, fraction.
func stamp(id *uuid.UUID, at uint64) {
	binary.BigEndian.PutUint64(id[:8], at>>12<<16|7<<12|at&0xfff)
}
