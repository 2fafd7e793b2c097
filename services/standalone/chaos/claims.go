package chaos

import (
	"fmt"
	"slices"
	"sync"

	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
)

// saleMu guards what several of a client's requests write; they are few, so one lock does for all clients.
var saleMu sync.Mutex

func (s *sale) say(do func()) {
	saleMu.Lock()
	defer saleMu.Unlock()
	do()
}

func (s *sale) lie(format string, args ...any) {
	s.say(func() { s.lies = append(s.lies, fmt.Sprintf(format, args...)) })
}

// follows lists what may be claimed after each status. Nothing follows an end, and from the point of no return an order
// only goes on.
var follows = map[coordinatorapi.OrderStatus][]coordinatorapi.OrderStatus{
	coordinatorapi.OrderStatusAccepted: {
		coordinatorapi.OrderStatusProcessing, coordinatorapi.OrderStatusConfirmed, coordinatorapi.OrderStatusCompleted,
		coordinatorapi.OrderStatusCancelling, coordinatorapi.OrderStatusCancelled,
	},
	coordinatorapi.OrderStatusProcessing: {
		coordinatorapi.OrderStatusConfirmed, coordinatorapi.OrderStatusCompleted,
		coordinatorapi.OrderStatusCancelling, coordinatorapi.OrderStatusCancelled,
	},
	coordinatorapi.OrderStatusConfirmed:  {coordinatorapi.OrderStatusCompleted},
	coordinatorapi.OrderStatusCancelling: {coordinatorapi.OrderStatusCancelled},
}

// see compares what is claimed with what was claimed before.
func (s *sale) see(now sighting) {
	if len(s.seen) == 0 {
		s.seen = append(s.seen, now)
		return
	}
	last := &s.seen[len(s.seen)-1]
	if now.revision < last.revision {
		s.lie("revision %d after revision %d", now.revision, last.revision)
	}
	if now.status == last.status {
		last.revision = max(last.revision, now.revision)
		return
	}
	if !slices.Contains(follows[last.status], now.status) {
		s.lie("%s after %s", now.status, last.status)
	}
	s.seen = append(s.seen, now)
}

// status is what was claimed last.
func (s *sale) status() coordinatorapi.OrderStatus {
	if len(s.seen) == 0 {
		return ""
	}
	return s.seen[len(s.seen)-1].status
}

// keepsWord compares the end with what was promised.
func (s *sale) keepsWord() {
	end := s.status()
	switch {
	case !s.ended || s.malformed:
	case s.never && end == coordinatorapi.OrderStatusCompleted:
		s.lie("completed, although it had to be refused (%s)", s.kind)
	case s.cancel == "agreed" && end != coordinatorapi.OrderStatusCancelled:
		s.lie("%s, although the cancellation was agreed to", end)
	case s.cancel == "too_late" && end != coordinatorapi.OrderStatusCompleted:
		s.lie("%s, although it was too late for a cancellation", end)
	}
}
