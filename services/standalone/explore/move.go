package explore

import (
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
)

// kind names what happens next.
type kind uint8

const (
	accept   kind = iota + 1 // the order is accepted
	cancel                   // a customer wants it cancelled
	deadline                 // its time is up
	timer                    // one step's timer fires
	timers                   // the coordinator looks late, and everything is due at once
	arrive                   // a message in flight arrives
	answer                   // an outside call ends
	probe                    // a participant asks outside again
	actLate                  // a provider acts without anybody listening
)

// choice is what a participant or a provider makes of it.
type choice uint8

const (
	asTold      choice = iota // there is nothing to choose
	does                      // it does, or undoes, what it is asked
	refuses                   // it will not
	putsOff                   // it asks to be asked later
	calls                     // it calls outside
	doesMute                  // it does it, but the answer is lost
	refusesMute               // it will not, but the answer is lost
	isSlow                    // it has not, so far
)

// fate is what becomes of the process and of the message that it handles.
type fate uint8

const (
	once       fate = iota
	again           // the message arrives once more
	diedBefore      // the process dies before the commit
	diedAfter       // it dies after the commit and before it sends anything
	diedLast        // it dies after it has sent everything, before the offsets are committed
)

// move is one event that is possible in a state.
type move struct {
	kind      kind
	step, key uint8
	message   message
	choice    choice
	fate      fate
	// calm says that no fault, refusal or wish is part of it: a saga must be able to end by calm moves alone.
	calm bool
}

// moves lists everything that may happen next.
func (x *explorer) moves(s *state, out []move) []move {
	if s.saga.state == 0 {
		return s.add(out, move{kind: accept, calm: true}, diedAfter)
	}
	out = x.looks(s, out)
	for i := range x.def.Steps() {
		for k := range x.keys[i] {
			at := move{step: uint8(i), key: uint8(k)}
			for set := s.effects[i][k].inFlight; set != 0; {
				m := at
				m.kind = arrive
				m.message, set = next(set)
				if m.message.command() {
					out = x.commandArrives(s, out, m)
				} else {
					m.calm = true
					out = s.add(out, m, again, diedBefore, diedAfter, diedLast)
				}
			}
			out = x.outside(s, out, at)
		}
	}
	return out
}

// add lists a move, and those of its fates that the bounds still allow.
func (s *state) add(out []move, m move, fates ...fate) []move {
	out = append(out, m)
	m.calm = false
	for _, f := range fates {
		if f == again && s.left.Repeats > 0 || f != again && s.left.Crashes > 0 {
			m.fate = f
			out = append(out, m)
		}
	}
	return out
}

// looks lists what the coordinator's clock and the customer can do.
func (x *explorer) looks(s *state, out []move) []move {
	due := 0
	if s.saga.deadline {
		due++
		out = s.add(out, move{kind: deadline}, diedBefore, diedAfter)
	}
	for i := range x.def.Steps() {
		if s.steps[i].due {
			due++
			out = s.add(out, move{kind: timer, step: uint8(i), calm: true}, diedBefore, diedAfter)
		}
	}
	if due > 1 {
		out = append(out, move{kind: timers})
	}
	if !s.saga.state.Ended() {
		out = s.add(out, move{kind: cancel}, diedBefore, diedAfter)
	}
	return out
}

func (x *explorer) commandArrives(s *state, out []move, m move) []move {
	e := &s.effects[m.step][m.key]
	verdict := x.code.Verdict(e.stored(), operation(m.message.op()))
	choices := append(make([]choice, 0, 4), asTold)
	if verdict == worker.RunDo || verdict == worker.RunUndo {
		isDo, outside := verdict == worker.RunDo, x.def.Steps()[m.step].Outside
		choices[0] = does
		if outside {
			choices[0] = calls
		}
		// Whoever is called outside refuses there; an undo may be refused before anybody is called.
		if isDo && !outside && x.mayRefuse(m) || !isDo && s.left.UndoRefusals > 0 {
			choices = append(choices, refuses)
		}
		if s.left.Retries > 0 {
			choices = append(choices, putsOff)
		}
	}
	for n, c := range choices {
		m.choice, m.calm = c, n == 0
		out = s.add(out, m, again, diedAfter, diedLast)
	}
	if s.left.Crashes > 0 {
		m.choice, m.calm, m.fate = asTold, false, diedBefore
		out = append(out, m)
	}
	return out
}

// outside lists what calls outside can lead to.
func (x *explorer) outside(s *state, out []move, m move) []move {
	e := &s.effects[m.step][m.key]
	if e.row.Open() && e.calling == 0 {
		m.kind, m.calm = probe, true
		out = append(out, m)
		m.calm = false
	}
	m.kind = actLate
	for _, op := range []saga.Op{saga.OpDo, saga.OpUndo} {
		if e.late&(1<<op) == 0 {
			continue
		}
		m.message, m.choice = commandOf(op), does
		out = append(out, m)
		if op == saga.OpDo && x.mayRefuse(m) {
			m.choice = refuses
			out = append(out, m)
		}
	}
	if e.calling == 0 {
		return out
	}
	m.kind, m.message = answer, commandOf(e.calling)
	mayDo, mayRefuse := true, s.left.UndoRefusals > 0
	if e.calling == saga.OpDo {
		mayDo, mayRefuse = !e.refusedBy, e.refusedBy || !e.happened && x.mayRefuse(m)
	}
	if mayDo {
		m.choice, m.calm = does, true
		out = s.add(out, m, diedBefore, diedAfter)
		m.choice, m.calm = doesMute, false
		out = append(out, m)
	}
	if mayRefuse {
		m.choice, m.calm = refuses, e.refusedBy
		out = s.add(out, m, diedBefore, diedAfter)
		if e.calling == saga.OpDo {
			m.choice, m.calm = refusesMute, false
			out = append(out, m)
		}
	}
	m.choice, m.calm = isSlow, false
	return s.add(out, m, diedBefore)
}

// mayRefuse bounds the refusals of a step that must succeed to its first effect key.
func (x *explorer) mayRefuse(m move) bool {
	spec := &x.def.Steps()[m.step]
	return spec.Kind != saga.Retriable || spec.Optional || m.key == 0
}

func operation(op saga.Op) worker.Operation {
	if op == saga.OpUndo {
		return worker.OpUndo
	}
	return worker.OpDo
}
