package coordinator

import (
	"container/heap"
	"sync"
	"time"

	"github.com/google/uuid"
)

// alarms holds when each saga wants to be looked at next: one entry a saga, the earliest first. It is a cache of the
// column next_due, which therefore needs no index: whatever is lost here with the process is read again from the table.
//
// An alarm that is put off, as nearly every event does with its saga's, keeps its place in the heap until it comes to
// the top: it is moved once, if at all, and not with every event.
type alarms struct {
	mu    sync.Mutex
	heap  alarmHeap
	index map[uuid.UUID]*alarm
	// wake has a token when the earliest alarm may have changed.
	wake chan struct{}
}

type alarm struct {
	saga uuid.UUID
	at   time.Time
	// key is that by which it is ordered: at, or what it was before it was put off.
	key time.Time
	pos int
	why reason
}

func newAlarms() *alarms {
	return &alarms{index: make(map[uuid.UUID]*alarm), wake: make(chan struct{}, 1)}
}

// set replaces the saga's alarm; a zero time removes it.
func (a *alarms) set(id uuid.UUID, at time.Time, why reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(id, at, why)
}

// add sets an alarm for a saga that has none or a later one.
func (a *alarms) add(id uuid.UUID, at time.Time, why reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.index[id]; one == nil || at.Before(one.at) {
		a.put(id, at, why)
	}
}

// found is add for what a scan has read. An alarm that knows the saga at that revision stays as it is: if it is later, it
// was put off. One that does not has a reason that is over.
func (a *alarms) found(id uuid.UUID, at time.Time, revision int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.index[id]
	switch {
	case one == nil:
		a.put(id, at, reason{})
	case one.why.revision < revision:
		a.put(id, earlier(at, one.at), reason{})
	}
}

func (a *alarms) put(id uuid.UUID, at time.Time, why reason) {
	one := a.index[id]
	switch {
	case one == nil && at.IsZero():
		return
	case one == nil:
		one = &alarm{saga: id, at: at, key: at, why: why}
		a.index[id] = one
		heap.Push(&a.heap, one)
	case at.IsZero():
		heap.Remove(&a.heap, one.pos)
		delete(a.index, id)
		return
	case !at.Before(one.key):
		one.at, one.why = at, why
		return
	default:
		one.at, one.key, one.why = at, at, why
		heap.Fix(&a.heap, one.pos)
	}
	if one.pos == 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// first is the earliest alarm; nil if there is none.
func (a *alarms) first() *alarm {
	for len(a.heap) > 0 {
		one := a.heap[0]
		if one.key.Equal(one.at) {
			return one
		}
		one.key = one.at
		heap.Fix(&a.heap, 0)
	}
	return nil
}

// looksEach is how many alarms are looked at for each that may be taken, so that nobody waits for long for the others.
const looksEach = 10

// take removes and returns up to n sagas whose time has come. Those for whose reason putOff names a wait stay, until
// after that.
func (a *alarms) take(now time.Time, n int, putOff func(*reason) time.Duration) []uuid.UUID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []uuid.UUID
	for looks := n * looksEach; looks > 0 && len(ids) < n; looks-- {
		one := a.first()
		if one == nil || one.at.After(now) {
			break
		}
		if wait := putOff(&one.why); wait > 0 {
			one.at = now.Add(wait)
			continue
		}
		heap.Pop(&a.heap)
		delete(a.index, one.saga)
		ids = append(ids, one.saga)
	}
	return ids
}

// next is the time of the earliest alarm; zero if there is none.
func (a *alarms) next() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.first(); one != nil {
		return one.at
	}
	return time.Time{}
}

func (a *alarms) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.heap)
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].key.Before(h[j].key) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *alarmHeap) Push(x any) {
	one := x.(*alarm)
	one.pos = len(*h)
	*h = append(*h, one)
}

func (h *alarmHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}
