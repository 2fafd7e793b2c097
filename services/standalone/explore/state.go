package explore

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
)

const (
	maxSteps = 4
	// maxKeys is the number of effect keys of one step: a refused retriable step is tried under one more.
	maxKeys = 2
)

// state is one point of a history. It is flat, so that a copy is one move of memory.
type state struct {
	saga    sagaState
	left    Bounds
	steps   [maxSteps]stepState
	effects [maxSteps][maxKeys]effect
}

// sagaState and stepState are what saga.Decide looks at, without instants and words.
type sagaState struct {
	state       saga.State
	cause, wish saga.Cause
	attention   saga.AttentionKind
	at          uint8
	deadline    bool
}

type stepState struct {
	state            saga.StepState
	gen              uint8
	attempt          uint8
	seq              uint8
	due, issued, has bool
}

// effect is one effect key: the participant's row, the ground truth, and what is on its way.
type effect struct {
	// inFlight is a set of messages, by bit; see message.
	inFlight   uint64
	row        worker.State
	seq        uint8
	undoWanted bool
	// calling is the outside call that is on its way from a living process; late are those that a provider
	// has received, or will, without anybody listening.
	calling saga.Op
	late    uint8
	// live is the ground truth. happened says that it was there once, refusedBy that the provider decided
	// against it for ever, fenced that somebody was told that it is gone.
	live, happened, refusedBy, fenced bool
}

// The world before the order is accepted. Its saga has no state yet.
func (x *explorer) first() state {
	s := state{left: x.bounds}
	before := saga.New(x.def, sagaID, sagaID)
	x.pack(&s, &before)
	return s
}

// pack keeps of a saga what decides about its future.
func (x *explorer) pack(s *state, from *saga.Saga) {
	s.saga = sagaState{
		state: from.State, cause: from.Cause, wish: from.Wish, attention: from.Attention.Kind,
		at: uint8(from.Attention.Step), deadline: !from.Deadline.IsZero(),
	}
	for i := range from.Steps {
		st := &from.Steps[i]
		s.steps[i] = stepState{
			state: st.State, gen: uint8(st.Generation), seq: uint8(st.Seq), due: !st.Due.IsZero(),
			// From GiveUp on every send is alike.
			attempt: uint8(min(st.Attempt, x.def.Steps()[i].Retry.GiveUp)),
			issued:  st.EverIssued, has: len(st.Effects) > 0,
		}
	}
}

// unpack makes a saga that decides alike. Every timer is due now.
func (x *explorer) unpack(s *state, to *saga.Saga) {
	*to = saga.Saga{
		ID: sagaID, OrderID: sagaID, Definition: x.def.Hash(),
		State: s.saga.state, Cause: s.saga.cause, Wish: s.saga.wish,
		Attention: saga.Attention{Kind: s.saga.attention, Step: int(s.saga.at)},
		Deadline:  instant(s.saga.deadline), Steps: to.Steps[:0],
	}
	for i := range x.def.Steps() {
		st := &s.steps[i]
		step := saga.StepStatus{
			State: st.state, Generation: uint32(st.gen), Attempt: uint32(st.attempt), Seq: uint32(st.seq),
			Due: instant(st.due), EverIssued: st.issued,
		}
		if st.has {
			step.Effects = heldEffect
		}
		to.Steps = append(to.Steps, step)
	}
}

// now is the one instant of every history.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var heldEffect = []saga.Effect{{Kind: "effect", Amount: 1}}

func instant(set bool) time.Time {
	if set {
		return now
	}
	return time.Time{}
}

// Live is the ground truth, as invariant.World wants it.
func (s *state) Live(step int) int {
	n := 0
	for k := range s.effects[step] {
		if s.effects[step][k].live {
			n++
		}
	}
	return n
}

// doubtful says that a participant does not know what became of the step.
func (s *state) doubtful(step int) bool {
	for k := range s.effects[step] {
		if s.effects[step][k].row.Open() {
			return true
		}
	}
	return false
}

// die is the death of a step's participant: what it called is still called, but nobody listens.
func (s *state) die(step uint8) {
	s.left.Crashes--
	for k := range s.effects[step] {
		e := &s.effects[step][k]
		e.hangUp()
	}
}

func (e *effect) hangUp() {
	if e.calling == saga.OpUndo && e.live || e.calling == saga.OpDo && !e.happened && !e.refusedBy {
		e.late |= 1 << e.calling
	}
	e.calling = 0
}

// key is the hash of a state's canonical encoding: 128 bits of SHA-256, so that two states that are told apart
// nowhere are not worth a thought.
type key [16]byte

func (x *explorer) key(s *state) key {
	b := append(x.buf[:0],
		byte(s.saga.state)|byte(s.saga.cause)<<4, byte(s.saga.wish)|byte(s.saga.attention)<<4,
		s.saga.at|flag(s.saga.deadline, 7),
		s.left.Repeats, s.left.Crashes, s.left.UndoRefusals, s.left.Retries)
	for i := range x.def.Steps() {
		st := &s.steps[i]
		b = append(b, byte(st.state)|st.gen<<4, st.attempt|st.seq<<4,
			flag(st.due, 0)|flag(st.issued, 1)|flag(st.has, 2))
		for k := range x.keys[i] {
			e := &s.effects[i][k]
			b = binary.LittleEndian.AppendUint64(b,
				e.inFlight|uint64(e.row)<<40|uint64(e.seq)<<44|uint64(e.calling)<<48|uint64(e.late)<<52)
			b = append(b,
				flag(e.undoWanted, 0)|flag(e.live, 1)|flag(e.happened, 2)|flag(e.refusedBy, 3)|flag(e.fenced, 4))
		}
	}
	x.buf = b
	sum := sha256.Sum256(b)
	return key(sum[:16])
}

func flag(set bool, bit int) byte {
	if set {
		return 1 << bit
	}
	return 0
}

// message is one bit of effect.inFlight: a command, or a reply with its effect_seq.
type message uint8

const (
	doCommand   message = 0
	undoCommand message = 1
	firstReply  message = 2
	maxSeq              = 3
	messages            = firstReply + message(saga.UndoDoubted)*(maxSeq+1)
)

func commandOf(op saga.Op) message {
	if op == saga.OpUndo {
		return undoCommand
	}
	return doCommand
}

func replyOf(kind saga.EventKind, seq uint8) message {
	return firstReply + message(kind-1)*(maxSeq+1) + message(seq)
}

func (m message) command() bool { return m < firstReply }

// op is the operation of a command, or the one that a reply answers.
func (m message) op() saga.Op {
	if m == undoCommand || !m.command() && m.reply() >= saga.UndoDone {
		return saga.OpUndo
	}
	return saga.OpDo
}

func (m message) reply() saga.EventKind { return saga.EventKind((m-firstReply)/(maxSeq+1)) + 1 }

func (m message) seq() uint8 { return uint8((m - firstReply) % (maxSeq + 1)) }

// next takes the lowest message from a set.
func next(set uint64) (message, uint64) {
	m := message(bits.TrailingZeros64(set))
	return m, set &^ (1 << m)
}
