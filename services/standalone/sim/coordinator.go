package sim

import (
	"time"

	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/invariant"
)

// apply is the coordinator's one write path: decide, commit, dispatch. It
// reports false when the coordinator crashed before the offset was committed,
// so that the record comes again. fixed events do not crash.
func (w *world) apply(ev saga.Event, fixed bool) bool {
	crash := uint32(0)
	if !fixed && w.chance(w.f.crash) {
		crash = 1 + w.rng.Uint32N(3)
	}
	if crash == 1 {
		w.count.hit(coordinatorDiedBeforeCommit)
		w.say("coordinator dies before the commit of %s", ev.Kind)
		w.rearm()
		return false
	}
	before := &w.saga
	out := saga.Decide(w.def, w.saga, ev, w.clock())
	w.observe(before, &out, ev)
	w.hold(invariant.Decided(w.def, before, &ev, &out))
	w.saga = out.Saga
	if w.record {
		for _, tr := range out.Trace {
			w.say("%s", saga.Describe(w.def, tr))
		}
	}
	if crash == 2 {
		w.count.hit(coordinatorDiedAfterCommit)
		w.say("coordinator dies after the commit, before the commands are sent")
		w.rearm()
		return false
	}
	for _, a := range out.Actions {
		if a.Kind == saga.Send {
			w.say("send %s %s, attempt %d", w.def.Steps()[a.Step].Name, a.Op, a.Attempt)
			w.send(event{kind: evCommand, step: uint8(a.Step), gen: a.Generation, op: a.Op, attempt: a.Attempt})
		}
	}
	w.rearm()
	if crash == 3 {
		w.count.hit(coordinatorDiedBeforeOffsets)
		return false
	}
	return true
}

// rearm makes sure that the coordinator looks when the next timer is due; after
// a crash that is the scan of the open sagas.
func (w *world) rearm() {
	due := w.saga.NextDue()
	if due.IsZero() {
		return
	}
	at := int64(due.Sub(epoch))
	if at == w.timerAt {
		return
	}
	w.timerAt = at
	w.push(event{at: max(at, w.now), kind: evTimer})
}

func (w *world) timer() {
	w.timerAt = 0
	for _, ev := range w.saga.DueEvents(w.clock()) {
		if !w.apply(ev, false) {
			break // the rest is due again after the restart
		}
	}
	w.rearm()
}

func (w *world) reply(r event) {
	ev := saga.Event{
		Kind: r.reply, Step: int(r.step), Generation: r.gen, Op: r.op, Attempt: r.attempt, Seq: r.fact,
		At: epoch.Add(time.Duration(r.until)), Evidence: "reply",
	}
	switch r.reply {
	case saga.ReplyDone:
		ev.Effects = heldEffect
	case saga.ReplyRefused, saga.UndoRefused:
		ev.Code = "refused"
	default:
	}
	w.say("reply %s %s gen %d seq %d", w.def.Steps()[r.step].Name, r.reply, r.gen, r.fact)
	if !w.apply(ev, false) {
		w.redeliver(r)
	}
}

var heldEffect = []saga.Effect{{Kind: "effect", Amount: 1}}

func (w *world) wish(r event) {
	ev := saga.Event{Kind: r.wish, Detail: "wished"}
	if r.wish == saga.OperatorRetry || r.wish == saga.OperatorSettle {
		ev.Step = w.rng.IntN(len(w.saga.Steps))
	}
	// An operator settles with evidence: what is declared settled is so in the world.
	if r.wish == saga.OperatorSettle && !w.settleable(ev.Step) {
		return
	}
	if r.wish == saga.OperatorClose && w.rng.Uint32()&3 != 0 {
		return // closing is rare, and ends a history early
	}
	w.say("wish %s", r.wish)
	w.apply(ev, true)
}

// settleable says whether the world already is what the saga waits for.
func (w *world) settleable(step int) bool {
	st := &w.saga.Steps[step]
	e := w.effect(step, st.Generation)
	if w.saga.State == saga.Running || w.saga.State == saga.Completing {
		return e.live && e.row.State == worker.StateDone
	}
	return !e.live && e.stored && (e.row.State == worker.StateUndone || e.row.State == worker.StateVoid)
}
