package coordinator

import (
	"context"
	"sync"

	"github.com/google/uuid"
)

// hand holds the sagas that this process works on. It sees to it that no two of its transactions are about one saga at
// the same time, and remembers sagas as this process wrote them last, so that the next event finds them without a
// question to the database.
//
// It is never the truth. What is decided on a remembered saga is written only if the saga is still at that revision; see
// updateSQL. So a hand that is out of date costs a second try and nothing else.
type hand struct {
	n int

	mu sync.Mutex
	// busy are the sagas that a transaction is about. The channel is closed when one has ended, if anybody waits.
	busy    map[uuid.UUID]struct{}
	ended   chan struct{}
	waiting int
	// It remembers between n and 2n sagas: when the young generation is full, the old one is forgotten.
	young, old map[uuid.UUID]*stored
}

func newHand(n int) *hand {
	return &hand{
		n: n, busy: make(map[uuid.UUID]struct{}), ended: make(chan struct{}), young: make(map[uuid.UUID]*stored),
	}
}

// take reserves all of the sagas at once, which is why two callers cannot wait for each other.
func (h *hand) take(ctx context.Context, ids []uuid.UUID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.anyBusy(ids) {
		ended := h.ended
		h.waiting++
		h.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
		}
		h.mu.Lock()
		h.waiting--
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for _, id := range ids {
		h.busy[id] = struct{}{}
	}
	return nil
}

func (h *hand) anyBusy(ids []uuid.UUID) bool {
	for _, id := range ids {
		if _, is := h.busy[id]; is {
			return true
		}
	}
	return false
}

// release ends what take began.
func (h *hand) release(ids []uuid.UUID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		delete(h.busy, id)
	}
	if h.waiting > 0 {
		close(h.ended)
		h.ended = make(chan struct{})
	}
}

// recall looks the sagas up; the value of one that is not remembered is nil. They must not be changed.
func (h *hand) recall(ids []uuid.UUID) []*stored {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*stored, len(ids))
	for i, id := range ids {
		if list[i] = h.young[id]; list[i] == nil {
			list[i] = h.old[id]
		}
	}
	return list
}

// remember takes over what a transaction wrote. What has ended is hardly asked for again, and a saga whose order's document
// was missing is read again, in case it is back.
func (h *hand) remember(t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range t.sagas {
		if s == nil {
			continue
		}
		id := t.order[i]
		delete(h.old, id)
		if s.State.Ended() || s.document == nil {
			delete(h.young, id)
			continue
		}
		if len(h.young) >= h.n {
			h.young, h.old = make(map[uuid.UUID]*stored, h.n), h.young
		}
		kept := s.stored // without what else the transaction knew
		h.young[id] = &kept
	}
}

// forget is for a transaction that failed: somebody else wrote, or nobody knows whether it was committed.
func (h *hand) forget(ids []uuid.UUID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		delete(h.young, id)
		delete(h.old, id)
	}
}
