package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator/saga"
)

const (
	second = int64(time.Second)
	minute = int64(time.Minute)
	// healAt is when the safety phase ends; the deadline of an order lies before it.
	healAt = 40 * minute
	// maxEvents bounds a history; a saga that has not ended by then never will.
	maxEvents = 4000
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type kind uint8

const (
	evCommand kind = iota + 1 // a command reaches a participant
	evReply                   // a reply reaches the coordinator
	evTimer                   // the coordinator looks at its timers
	evCall                    // the answer of a provider reaches the participant, or does not
	evEffect                  // a provider acts late
	evProbe                   // a participant asks the provider again
	evWish                    // a customer or an operator wants something
	evHeal
)

// event is everything that can happen; which fields matter depends on the kind.
type event struct {
	at   int64
	seq  uint32
	kind kind
	step uint8
	gen  uint32
	op   saga.Op
	// attempt of a command or reply; tries of a call or probe.
	attempt uint32
	reply   saga.EventKind
	fact    uint32 // effect_seq
	until   int64  // not before, next probe
	result  result // of a call
	wish    saga.EventKind
	again   uint8 // deliveries of this very record after crashes
}

// faults are the rates of one history, in 1/256; swarm testing draws them anew for each.
type faults struct {
	lose, double, delay, crash  uint8
	refuse, retry, loseAnswer   uint8
	undoRefuse, actLate, wishes uint8
}

// world is one history. It is reused for the next one to keep the garbage small.
type world struct {
	def  *saga.Definition
	rng  *rand.Rand
	pcg  *rand.PCG
	f    faults
	now  int64
	next uint32
	heap []event

	saga     saga.Saga
	accepted bool
	healed   bool
	parts    [][]effect // by step, by generation - 1
	timerAt  int64

	count  *counters
	hash   uint64
	events int
	err    error
	trace  []string // filled only when a violation is replayed
	record bool
}

func newWorld() *world {
	pcg := rand.NewPCG(0, 0)
	return &world{pcg: pcg, rng: rand.New(pcg)}
}

// chance draws from the rate while faults are on.
func (w *world) chance(rate uint8) bool {
	return !w.healed && rate > 0 && uint8(w.rng.Uint32()) < rate
}

func (w *world) clock() time.Time { return epoch.Add(time.Duration(w.now)) }

// play runs one history to its end and returns the first violation.
func (w *world) play(def *saga.Definition, seed uint64, count *counters) error {
	w.reset(def, seed, count)
	w.accept()
	for len(w.heap) > 0 && w.err == nil {
		ev := w.pop()
		w.now = max(w.now, ev.at)
		w.events++
		if w.events > maxEvents {
			w.fail("no end after %d events: %s", maxEvents, w.saga.State)
			break
		}
		w.step(ev)
		w.mix(uint64(ev.kind) | uint64(ev.step)<<8 | uint64(w.saga.State)<<16 | uint64(ev.at)<<24)
		w.checkAlways()
	}
	if w.err == nil {
		w.checkEnd()
	}
	return w.err
}

func (w *world) reset(def *saga.Definition, seed uint64, count *counters) {
	w.pcg.Seed(seed, 0x9e3779b97f4a7c15)
	w.def, w.count, w.now, w.next, w.events, w.err, w.healed = def, count, 0, 0, 0, nil, false
	w.heap, w.trace, w.timerAt, w.accepted = w.heap[:0], nil, 0, false
	w.hash = 14695981039346656037
	var id uuid.UUID
	for i := range id {
		id[i] = byte(w.rng.Uint32())
	}
	w.saga = saga.New(def, id, id)
	w.parts = make([][]effect, len(def.Steps()))
	scale := func(most uint32) uint8 { // half of the histories do without a given fault
		if w.rng.Uint32()&1 == 0 {
			return 0
		}
		return uint8(w.rng.Uint32N(most + 1))
	}
	w.f = faults{
		lose: scale(60), double: scale(60), delay: scale(80), crash: scale(50), refuse: scale(40), retry: scale(40),
		loseAnswer: scale(120), undoRefuse: scale(60), actLate: scale(60), wishes: scale(255),
	}
}

func (w *world) accept() {
	deadline := w.clock().Add(time.Duration(minute + w.rng.Int64N(20*minute)))
	w.apply(saga.Event{Kind: saga.Accepted, At: deadline}, true)
	w.push(event{at: healAt, kind: evHeal})
	for i := uint8(0); i < 4 && w.chance(w.f.wishes); i++ {
		at := w.rng.Int64N(20 * second)
		if w.rng.Uint32()&3 == 0 {
			at = w.rng.Int64N(30 * minute)
		}
		w.push(event{at: at, kind: evWish, wish: wishKinds[w.rng.IntN(len(wishKinds))]})
	}
}

var wishKinds = []saga.EventKind{
	saga.CancelRequested, saga.CancelRequested, saga.CancelRequested, saga.OperatorUndo, saga.OperatorPause,
	saga.OperatorResume, saga.OperatorRetry, saga.OperatorSettle, saga.OperatorClose,
}

func (w *world) step(ev event) {
	switch ev.kind {
	case evCommand:
		w.command(ev)
	case evReply:
		w.reply(ev)
	case evTimer:
		w.timer()
	case evCall:
		w.called(ev)
	case evEffect:
		w.actLate(ev)
	case evProbe:
		w.probe(ev)
	case evWish:
		w.wish(ev)
	case evHeal:
		w.heal()
	}
}

func (w *world) heal() {
	w.healed = true
	if w.saga.Paused {
		w.apply(saga.Event{Kind: saga.OperatorResume}, false)
	}
}

// send puts a record on the network: it may be lost, doubled, delayed and overtaken.
func (w *world) send(ev event) {
	if w.chance(w.f.lose) {
		w.count.hit(recordLost)
		return
	}
	ev.at = w.now + w.latency()
	w.push(ev)
	for w.chance(w.f.double) {
		w.count.hit(recordDoubled)
		ev.at = w.now + w.latency()
		w.push(ev)
	}
}

func (w *world) latency() int64 {
	d := int64(time.Millisecond) + w.rng.Int64N(int64(20*time.Millisecond))
	if w.chance(w.f.delay) {
		d += w.rng.Int64N(2 * minute)
	}
	return d
}

// redeliver is what a crash before the offset commit leads to.
func (w *world) redeliver(ev event) {
	if ev.again < 3 {
		ev.again++
		ev.at = w.now + w.latency()
		w.push(ev)
	}
}

func (w *world) mix(v uint64) {
	w.hash = (w.hash ^ v) * 1099511628211
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %s: "+format, append([]any{time.Duration(w.now)}, args...)...)
	}
}

func (w *world) say(format string, args ...any) {
	if w.record {
		w.trace = append(w.trace, fmt.Sprintf("%12s ", time.Duration(w.now).Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

// push and pop keep a binary heap by (at, seq); container/heap would box every event.
func (w *world) push(ev event) {
	w.next++
	ev.seq = w.next
	w.heap = append(w.heap, ev)
	i := len(w.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !w.less(i, parent) {
			break
		}
		w.heap[i], w.heap[parent] = w.heap[parent], w.heap[i]
		i = parent
	}
}

func (w *world) pop() event {
	top := w.heap[0]
	last := len(w.heap) - 1
	w.heap[0] = w.heap[last]
	w.heap = w.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && w.less(child+1, child) {
			child++
		}
		if !w.less(child, i) {
			break
		}
		w.heap[i], w.heap[child] = w.heap[child], w.heap[i]
		i = child
	}
	return top
}

func (w *world) less(i, j int) bool {
	a, b := &w.heap[i], &w.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
