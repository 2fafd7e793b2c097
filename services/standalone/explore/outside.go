package explore

import (
	"fmt"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/invariant"
)

// answered is the end of an outside call: the participant settles, in one transaction, and speaks.
func (x *explorer) answered(s *state, m move) error {
	e := &s.effects[m.step][m.key]
	op := e.calling
	if m.choice != isSlow {
		if err := x.provider(s, m, op, m.choice); err != nil {
			return err
		}
		e.calling = 0
	}
	if m.fate == diedBefore {
		s.die(m.step)
		return nil
	}
	e.hangUp()
	said, err := x.settle(s, m, op)
	if err != nil {
		return err
	}
	if m.fate == diedAfter {
		// The undo that was remembered may have led to a call, which was to be made after the commit.
		e.calling = 0
		s.die(m.step)
		return nil
	}
	e.inFlight |= said
	return nil
}

// provider is the outside world: idempotent by key, and final in its refusals.
func (x *explorer) provider(s *state, m move, op saga.Op, c choice) error {
	e := &s.effects[m.step][m.key]
	e.late &^= 1 << op
	switch {
	case c == refuses || c == refusesMute:
		if op == saga.OpDo {
			e.refusedBy = true
		}
		return nil
	case op == saga.OpUndo:
		return x.unhappen(s, m)
	case e.happened:
		return nil // the saved answer is repeated
	}
	return x.happen(s, m)
}

func (x *explorer) settle(s *state, m move, op saga.Op) (said uint64, err error) {
	e := &s.effects[m.step][m.key]
	if openOp(e.row) != op {
		return 0, nil // settled meanwhile
	}
	if op == saga.OpUndo {
		return x.settleUndo(s, m)
	}
	wanted := e.undoWanted
	switch m.choice {
	case does:
		err = x.become(e, worker.SettlingDo, worker.KindDone)
		said = e.fact(saga.ReplyDone)
	case refuses:
		err = x.become(e, worker.SettlingDo, worker.KindRefused)
		said = e.fact(saga.ReplyRefused)
	default:
		return inDoubt(saga.OpDo), x.become(e, worker.SettlingDo, worker.KindInDoubt)
	}
	if err != nil || !wanted {
		return said, err
	}
	// An undo came while the do was in doubt; it is carried out now.
	also, err := x.obey(s, m, x.code.Verdict(e.stored(), worker.OpUndo), calls)
	return said | also, err
}

func (x *explorer) settleUndo(s *state, m move) (said uint64, err error) {
	e := &s.effects[m.step][m.key]
	switch m.choice {
	case does:
		err = x.become(e, worker.SettlingUndo, worker.KindUndone)
		return e.fact(saga.UndoDone), err
	case refuses:
		s.left.UndoRefusals--
		err = x.become(e, worker.SettlingUndo, worker.KindUndoRefused)
		return e.fact(saga.UndoRefused), err
	default:
		return inDoubt(saga.OpUndo), x.become(e, worker.SettlingUndo, worker.KindInDoubt)
	}
}

// stored is the row as the participant's database has it; nil is none.
func (e *effect) stored() *worker.Row {
	if e.row == worker.StateAbsent {
		return nil
	}
	return &worker.Row{State: e.row, EffectSeq: int(e.seq), UndoWanted: e.undoWanted}
}

// become moves the row as the SDK does; a move that the SDK would not make is a violation.
func (x *explorer) become(e *effect, phase worker.Phase, outcome worker.OutcomeKind) error {
	row := worker.Row{State: e.row, EffectSeq: int(e.seq), UndoWanted: e.undoWanted}
	to, err := x.code.Next(row, phase, outcome)
	if err == nil && to.EffectSeq > maxSeq {
		err = fmt.Errorf("%d facts about one effect", to.EffectSeq)
	}
	e.row, e.seq, e.undoWanted = to.State, uint8(min(to.EffectSeq, maxSeq)), to.UndoWanted
	return err
}

// happen and unhappen are the world's side of an effect.
func (x *explorer) happen(s *state, m move) error {
	e := &s.effects[m.step][m.key]
	dos := 1
	if e.happened {
		dos++
	}
	e.live, e.happened = true, true
	return invariant.Happened(x.def, s, int(m.step), e.fenced, dos)
}

func (x *explorer) unhappen(s *state, m move) error {
	e := &s.effects[m.step][m.key]
	e.fenced = true
	if !e.live {
		return nil
	}
	e.live = false
	return invariant.Unhappened(x.def, s, int(m.step))
}

// fact is a reply that carries the number of its fact.
func (e *effect) fact(kind saga.EventKind) uint64 { return 1 << replyOf(kind, e.seq) }

func inDoubt(op saga.Op) uint64 {
	if op == saga.OpUndo {
		return 1 << replyOf(saga.UndoDoubted, 0)
	}
	return 1 << replyOf(saga.ReplyInDoubt, 0)
}

// openOp is the operation whose outcome a row does not know; 0 is none.
func openOp(row worker.State) saga.Op {
	switch row {
	case worker.StateInDoubt:
		return saga.OpDo
	case worker.StateUndoInDoubt:
		return saga.OpUndo
	default:
		return 0
	}
}
