package sim

import (
	"time"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
)

// call sends an outside request. The request or its answer may be lost, and the
// provider may act after the caller has stopped waiting. The probe that is
// scheduled with it stands for next_probe_at in the row: it is what is left
// when the process dies.
func (w *world) call(step uint8, gen uint32, op saga.Op, tries uint32) {
	e := w.effect(int(step), gen)
	e.calling = true
	ev := event{kind: evCall, step: step, gen: gen, op: op, attempt: tries, at: w.now + w.latency()}
	switch {
	case w.chance(w.f.loseAnswer):
		ev.result = resUnknown
		switch w.rng.Uint32N(3) {
		case 0: // the request never arrived
		case 1:
			w.count.hit(answerLostAfterEffect)
			w.provider(step, gen, op)
		case 2:
			if w.chance(w.f.actLate) {
				w.count.hit(providerActedLate)
				w.push(event{at: w.now + w.rng.Int64N(2*minute), kind: evEffect, step: step, gen: gen, op: op})
			}
		}
		ev.at = w.now + int64(10*time.Second)
	default:
		ev.result = w.provider(step, gen, op)
	}
	w.push(ev)
	w.push(event{at: w.now + int64(15*time.Second), kind: evProbe, step: step, gen: gen, op: op, attempt: tries})
}

// provider is the outside world: idempotent by key, and final in its refusals.
func (w *world) provider(step uint8, gen uint32, op saga.Op) result {
	e := w.effect(int(step), gen)
	if op == saga.OpUndo {
		w.unhappen(int(step), e)
		return resDone
	}
	if e.live {
		return resDone
	}
	if e.refusedBy || e.dos == 0 && w.refuses() {
		e.refusedBy = true
		return resRefused
	}
	if e.dos > 0 {
		return resDone // it was there and was taken back; the saved answer is repeated
	}
	w.happen(int(step), e)
	return resDone
}

func (w *world) actLate(ev event) {
	e := w.effect(int(ev.step), ev.gen)
	if ev.op == saga.OpDo && (e.dos > 0 || e.refusedBy) {
		return // the key is known already
	}
	w.provider(ev.step, ev.gen, ev.op)
}

// called is the end of a call: settle, in one transaction, and speak.
func (w *world) called(ev event) {
	e := w.effect(int(ev.step), ev.gen)
	if !e.calling {
		return // the process that called is dead
	}
	e.calling = false
	if w.chance(w.f.crash) {
		w.count.hit(workerDiedAfterCall)
		return
	}
	w.settle(ev, e)
}

// probe is the resolver: it asks the provider what became of a call, and sends
// the call again, under the same key, when the provider has never heard of it.
func (w *world) probe(ev event) {
	e := w.effect(int(ev.step), ev.gen)
	waiting := worker.StateInDoubt
	if ev.op == saga.OpUndo {
		waiting = worker.StateUndoInDoubt
	}
	if e.row.State != waiting {
		return
	}
	if e.calling {
		w.push(event{at: w.now + int64(5*time.Second), kind: evProbe, step: ev.step, gen: ev.gen, op: ev.op, attempt: ev.attempt})
		return
	}
	w.count.hit(probed)
	w.call(ev.step, ev.gen, ev.op, ev.attempt+1)
}

func (w *world) settle(ev event, e *effect) {
	wanted := e.row.UndoWanted
	switch {
	case ev.op == saga.OpDo && e.row.State == worker.StateInDoubt:
		switch ev.result {
		case resUnknown:
			w.count.hit(unknownOutcome)
			w.become(e, worker.SettlingDo, worker.KindInDoubt)
			w.send(w.inDoubt(event{step: ev.step, gen: ev.gen, op: ev.op}, e))
			return
		case resRefused:
			w.become(e, worker.SettlingDo, worker.KindRefused)
			w.count.hitIf(ev.attempt > 1, doubtEndedRefused)
			if wanted {
				e.fenced = true
				w.send(w.answer(event{step: ev.step, gen: ev.gen, op: saga.OpUndo}, e, saga.UndoDone))
				return
			}
			w.send(w.answer(ev, e, saga.ReplyRefused))
		default:
			w.become(e, worker.SettlingDo, worker.KindDone)
			w.count.hitIf(ev.attempt > 1, doubtEndedDone)
			if wanted {
				w.count.hit(undoneByResolver)
				if out := w.runUndo(event{step: ev.step, gen: ev.gen, op: saga.OpUndo}, e); out.kind == evReply {
					w.send(out)
				}
				return
			}
			w.send(w.answer(ev, e, saga.ReplyDone))
		}
	case ev.op == saga.OpUndo && e.row.State == worker.StateUndoInDoubt:
		if ev.result == resUnknown {
			w.become(e, worker.SettlingUndo, worker.KindInDoubt)
			w.send(w.inDoubt(event{step: ev.step, gen: ev.gen, op: ev.op}, e))
			return
		}
		w.become(e, worker.SettlingUndo, worker.KindUndone)
		w.count.hitIf(ev.attempt > 1, undoDoubtEnded)
		w.send(w.answer(ev, e, saga.UndoDone))
	}
}
