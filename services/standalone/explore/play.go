package explore

import (
	"fmt"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/invariant"
)

// play is the state after a move. before is the saga of the state, unpacked; the error is a broken promise.
func (x *explorer) play(s *state, before *saga.Saga, m move) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	x.after = before
	switch m.kind {
	case accept:
		return x.coordinator(s, before, m, saga.Event{Kind: saga.Accepted})
	case cancel:
		return x.coordinator(s, before, m, saga.Event{Kind: saga.CancelRequested})
	case deadline:
		return x.coordinator(s, before, m, saga.Event{Kind: saga.DeadlinePassed})
	case timer:
		return x.coordinator(s, before, m, timerOf(before, int(m.step)))
	case timers:
		return x.allTimers(s, before)
	case arrive:
		if m.message.command() {
			return x.participant(s, m)
		}
		return x.coordinator(s, before, m, replyEvent(m))
	case answer:
		return x.answered(s, m)
	case probe:
		e := &s.effects[m.step][m.key]
		e.calling = openOp(e.row)
		return nil
	case actLate:
		return x.provider(s, m, m.message.op(), m.choice)
	}
	return fmt.Errorf("no such move: %d", m.kind)
}

func timerOf(s *saga.Saga, step int) saga.Event {
	for _, ev := range s.DueEvents(now) {
		if ev.Kind == saga.TimerFired && ev.Step == step {
			return ev
		}
	}
	panic("explore: the timer is not due") // moves has looked
}

func replyEvent(m move) saga.Event {
	ev := saga.Event{
		Kind: m.message.reply(), Step: int(m.step), Generation: uint32(m.key) + 1, Op: m.message.op(),
		Seq: uint32(m.message.seq()), At: now, Evidence: "reply",
	}
	switch ev.Kind {
	case saga.ReplyDone:
		ev.Effects = heldEffect
	case saga.ReplyRefused, saga.UndoRefused:
		ev.Code = "refused"
	default:
	}
	return ev
}

// coordinator is the one write path: decide, commit, dispatch, commit the offsets.
func (x *explorer) coordinator(s *state, before *saga.Saga, m move, ev saga.Event) error {
	if m.fate == diedBefore {
		s.left.Crashes--
		return nil
	}
	out, err := x.decideOnce(s, before, m, ev)
	if err != nil {
		return err
	}
	if m.kind == arrive {
		s.consume(m)
	} else if m.fate != once {
		s.left.Crashes--
	}
	if m.fate == diedAfter {
		return nil
	}
	s.dispatch(out)
	return nil
}

// decideOnce decides: the fates of one move follow each other and lead to one decision.
func (x *explorer) decideOnce(s *state, before *saga.Saga, m move, ev saga.Event) (*saga.Decision, error) {
	m.fate, m.calm = once, false
	if m == x.decided {
		x.after = &x.decision.Saga
		x.pack(s, x.after)
		return &x.decision, nil
	}
	out, err := x.decide(s, before, ev)
	x.decided = m
	return out, err
}

func (x *explorer) decide(s *state, before *saga.Saga, ev saga.Event) (*saga.Decision, error) {
	x.decided = move{}
	x.decision = x.code.Decide(x.def, *before, ev, now)
	out := &x.decision
	x.after = &out.Saga
	for i := range out.Trace {
		x.rows.take(&out.Trace[i])
	}
	for i := range out.Saga.Steps {
		if gen := out.Saga.Steps[i].Generation; int(gen) > x.keys[i] {
			return nil, fmt.Errorf("%s is asked for under %d effect keys", x.def.Steps()[i].Name, gen)
		}
	}
	x.pack(s, &out.Saga)
	return out, invariant.Decided(x.def, before, &ev, out)
}

func (s *state) dispatch(out *saga.Decision) {
	for i := range out.Actions {
		if a := &out.Actions[i]; a.Kind == saga.Send {
			s.effects[a.Step][a.Generation-1].inFlight |= 1 << commandOf(a.Op)
		}
	}
}

// allTimers is a coordinator that looks late: what is due was read once, and an earlier timer may have made a later
// one stale.
func (x *explorer) allTimers(s *state, before *saga.Saga) error {
	saved := *before
	for _, ev := range before.DueEvents(now) {
		out, err := x.decide(s, &saved, ev)
		if err != nil {
			return err
		}
		s.dispatch(out)
		saved = out.Saga
	}
	x.last = saved
	x.after = &x.last
	return nil
}

// consume takes the message that arrived out of flight, unless it will arrive again.
func (s *state) consume(m move) {
	switch m.fate {
	case once:
		s.effects[m.step][m.key].inFlight &^= 1 << m.message
	case again:
		s.left.Repeats--
	case diedBefore, diedAfter, diedLast:
		if !m.message.command() {
			s.left.Crashes--
		}
	}
}

// participant is one command at its participant, in one transaction.
func (x *explorer) participant(s *state, m move) error {
	e := &s.effects[m.step][m.key]
	if m.fate == diedBefore {
		s.die(m.step)
		return nil
	}
	verdict := x.code.Verdict(e.stored(), operation(m.message.op()))
	said, err := x.obey(s, m, verdict, m.choice)
	if err != nil {
		return err
	}
	s.consume(m)
	switch m.fate {
	case diedAfter: // the call was to be made after the commit: nobody was called
		if m.choice == calls {
			e.calling = 0
		}
		s.die(m.step)
		return nil
	case diedLast:
		s.die(m.step)
	default:
	}
	e.inFlight |= said
	return nil
}

// obey carries out a verdict and returns the replies to it.
func (x *explorer) obey(s *state, m move, verdict worker.Verdict, c choice) (said uint64, err error) {
	e := &s.effects[m.step][m.key]
	switch verdict {
	case worker.RunDo:
		return x.runDo(s, m, c)
	case worker.RunUndo:
		return x.runUndo(s, m, c)
	case worker.StoreVoid:
		void := worker.Void()
		e.row, e.seq, e.fenced = void.State, uint8(void.EffectSeq), true
		return e.fact(saga.UndoDone), nil
	case worker.RepeatReply:
		switch e.row {
		case worker.StateDone:
			return e.fact(saga.ReplyDone), nil
		case worker.StateRefused:
			return e.fact(saga.ReplyRefused), nil
		default:
			return e.fact(saga.UndoDone), nil
		}
	case worker.SayNothing:
		e.fenced = true
		return e.fact(saga.UndoDone), nil
	case worker.SayFenced:
		return e.fact(saga.ReplyFenced), nil
	case worker.SayInDoubt:
		return inDoubt(m.message.op()), nil
	case worker.RememberUndo:
		e.undoWanted = true
		return inDoubt(saga.OpUndo), nil
	}
	return 0, fmt.Errorf("unknown verdict %q", verdict)
}

func (x *explorer) runDo(s *state, m move, c choice) (said uint64, err error) {
	e := &s.effects[m.step][m.key]
	switch c {
	case does:
		if err := x.become(e, worker.Doing, worker.KindDone); err != nil {
			return 0, err
		}
		return e.fact(saga.ReplyDone), x.happen(s, m)
	case refuses:
		err := x.become(e, worker.Doing, worker.KindRefused)
		return e.fact(saga.ReplyRefused), err
	case putsOff:
		s.left.Retries--
		return 1 << replyOf(saga.ReplyRetry, 0), x.become(e, worker.Doing, worker.KindRetry)
	default:
		e.calling = saga.OpDo
		return 0, x.become(e, worker.Doing, worker.KindCall)
	}
}

func (x *explorer) runUndo(s *state, m move, c choice) (said uint64, err error) {
	e := &s.effects[m.step][m.key]
	switch c {
	case does:
		if err := x.become(e, worker.Undoing, worker.KindUndone); err != nil {
			return 0, err
		}
		return e.fact(saga.UndoDone), x.unhappen(s, m)
	case refuses:
		s.left.UndoRefusals--
		err := x.become(e, worker.Undoing, worker.KindUndoRefused)
		return e.fact(saga.UndoRefused), err
	case putsOff:
		s.left.Retries--
		return 1 << replyOf(saga.UndoRetry, 0), x.become(e, worker.Undoing, worker.KindRetry)
	default:
		e.calling = saga.OpUndo
		return 0, x.become(e, worker.Undoing, worker.KindCall)
	}
}
