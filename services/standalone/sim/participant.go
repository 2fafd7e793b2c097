package sim

import (
	"time"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
)

// effect is one effect key at its participant and, behind it, at the provider.
type effect struct {
	// row is what the participant has committed; stored says whether there is one.
	row    worker.Row
	stored bool
	// calling says that an outside call is on its way.
	calling bool
	// live is the ground truth: the effect is in the world.
	live bool
	// dos and undos count what really happened in the world.
	dos, undos int
	// refusedBy says that the provider has decided against the effect, for ever.
	refusedBy bool
	// fenced says that the participant has told somebody that the effect is gone.
	fenced bool
}

type result uint8

const (
	resDone result = iota + 1
	resRefused
	resUnknown
	resNotFound
)

func (w *world) effect(step int, gen uint32) *effect {
	for len(w.parts[step]) < int(gen) {
		w.parts[step] = append(w.parts[step], effect{})
	}
	return &w.parts[step][gen-1]
}

// command is one command at its participant, in one transaction.
func (w *world) command(c event) {
	e := w.effect(int(c.step), c.gen)
	crash := uint32(0)
	if w.chance(w.f.crash) {
		crash = 1 + w.rng.Uint32N(3)
	}
	if crash == 1 {
		w.count.hit(workerDiedBeforeCommit)
		w.redeliver(c)
		return
	}
	var row *worker.Row
	if e.stored {
		row = &e.row
	}
	verdict := worker.Decide(row, operation(c.op))
	w.say("%s gets %s: %s", w.def.Steps()[c.step].Name, c.op, verdict)
	answer := w.run(c, e, verdict)
	if crash == 2 {
		w.count.hit(workerDiedAfterCommit)
		e.calling = false
		w.redeliver(c)
		return
	}
	if answer.kind == evReply {
		w.send(answer)
	}
	if crash == 3 {
		w.count.hit(workerDiedBeforeOffsets)
		w.redeliver(c)
	}
}

// run carries out a verdict. The zero event means that nothing is answered yet.
func (w *world) run(c event, e *effect, verdict worker.Verdict) event {
	switch verdict {
	case worker.RunDo:
		return w.runDo(c, e)
	case worker.RunUndo:
		return w.runUndo(c, e)
	case worker.StoreVoid:
		w.count.hit(tombstone)
		e.row, e.stored, e.fenced = worker.Void(), true, true
		return w.answer(c, e, saga.UndoDone)
	case worker.RepeatReply:
		w.count.hit(replyRepeated)
		switch e.row.State {
		case worker.StateDone:
			return w.answer(c, e, saga.ReplyDone)
		case worker.StateRefused:
			w.count.hit(refusalRepeated)
			return w.answer(c, e, saga.ReplyRefused)
		default:
			return w.answer(c, e, saga.UndoDone)
		}
	case worker.SayNothing:
		e.fenced = true
		return w.answer(c, e, saga.UndoDone)
	case worker.SayFenced:
		w.count.hit(doFenced)
		return w.answer(c, e, saga.ReplyFenced)
	case worker.SayInDoubt:
		return w.inDoubt(c, e)
	case worker.RememberUndo:
		w.count.hit(undoWhileInDoubt)
		e.row.UndoWanted = true
		return w.inDoubt(c, e)
	}
	w.fail("unknown verdict %q", verdict)
	return event{}
}

func (w *world) runDo(c event, e *effect) event {
	spec := &w.def.Steps()[c.step]
	if w.chance(w.f.retry) {
		out := w.answer(c, e, saga.ReplyRetry)
		out.fact, out.until = 0, w.now+w.rng.Int64N(minute)
		return out
	}
	if spec.Outside {
		w.become(e, worker.Doing, worker.KindCall)
		w.call(c.step, c.gen, saga.OpDo, 1)
		return event{}
	}
	if w.refuses() {
		w.become(e, worker.Doing, worker.KindRefused)
		return w.answer(c, e, saga.ReplyRefused)
	}
	w.become(e, worker.Doing, worker.KindDone)
	w.happen(int(c.step), e)
	return w.answer(c, e, saga.ReplyDone)
}

func (w *world) runUndo(c event, e *effect) event {
	if w.chance(w.f.undoRefuse) {
		w.become(e, worker.Undoing, worker.KindUndoRefused)
		return w.answer(c, e, saga.UndoRefused)
	}
	if w.chance(w.f.retry) {
		out := w.answer(c, e, saga.UndoRetry)
		out.fact, out.until = 0, w.now+w.rng.Int64N(minute)
		return out
	}
	if w.def.Steps()[c.step].Outside {
		w.become(e, worker.Undoing, worker.KindCall)
		w.call(c.step, c.gen, saga.OpUndo, 1)
		return event{}
	}
	w.become(e, worker.Undoing, worker.KindUndone)
	w.unhappen(int(c.step), e)
	return w.answer(c, e, saga.UndoDone)
}

func (w *world) refuses() bool { return w.chance(w.f.refuse) }

// become moves the row as the SDK does; a move that the SDK would not make is a violation.
func (w *world) become(e *effect, phase worker.Phase, kind worker.OutcomeKind) {
	next, err := e.row.Next(phase, kind)
	if err != nil {
		w.fail("%v", err)
	}
	e.row, e.stored = next, next.State != worker.StateAbsent
}

// happen and unhappen are the world's side of an effect.
func (w *world) happen(step int, e *effect) {
	if e.live {
		return // the provider knows the idempotency key
	}
	e.live = true
	e.dos++
	w.checkHappened(step, e)
}

func (w *world) unhappen(step int, e *effect) {
	if e.live {
		e.live = false
		e.undos++
		w.checkUnhappened(step)
	}
	e.fenced = true
}

func (w *world) answer(c event, e *effect, kind saga.EventKind) event {
	op := c.op
	return event{
		kind: evReply, step: c.step, gen: c.gen, op: op, attempt: c.attempt, reply: kind, fact: uint32(e.row.EffectSeq),
	}
}

func (w *world) inDoubt(c event, e *effect) event {
	kind := saga.ReplyInDoubt
	if c.op == saga.OpUndo {
		kind = saga.UndoDoubted
	}
	out := w.answer(c, e, kind)
	out.fact, out.until = 0, w.now+int64(5*time.Second)
	return out
}

func operation(op saga.Op) worker.Operation {
	if op == saga.OpUndo {
		return worker.OpUndo
	}
	return worker.OpDo
}
