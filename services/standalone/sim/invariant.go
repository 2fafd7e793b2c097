package sim

import (
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/worker"
)

// checkHappened holds the moment at which an effect comes about to the promises
// that were given before it.
func (w *world) checkHappened(step int, e *effect) {
	if e.fenced {
		w.fail("%s happened after its undo was acknowledged", w.name(step))
	}
	if e.dos > 1 {
		w.fail("%s happened %d times under one effect key", w.name(step), e.dos)
	}
	for g := range w.parts[step] {
		if o := &w.parts[step][g]; o != e && o.live {
			w.fail("%s happened under two effect keys at once", w.name(step))
		}
	}
}

// checkUnhappened: an effect is taken back only when everything after it is gone, and never past the pivot.
func (w *world) checkUnhappened(step int) {
	steps := w.def.Steps()
	for later := step + 1; later < len(steps); later++ {
		if w.stage(later) == w.stage(step) || !w.live(later) {
			continue
		}
		w.fail("%s was undone while %s, which comes after it, is there", w.name(step), w.name(later))
	}
}

// checkAlways runs after every event.
func (w *world) checkAlways() {
	s := &w.saga
	steps := w.def.Steps()
	for i := range s.Steps {
		st := &s.Steps[i]
		switch st.State {
		case saga.Done:
			// Nothing may be taken back behind the coordinator's back, so what it holds is there.
			if !w.live(i) {
				w.fail("the saga holds %s, which is not there", w.name(i))
			}
		case saga.Undone, saga.Refused:
			if w.live(i) {
				w.fail("the saga has proof that %s is gone, and it is there", w.name(i))
			}
		default:
		}
	}
	switch s.State {
	case saga.Completed:
		for i := range steps {
			if !steps[i].Optional && !w.live(i) {
				w.fail("completed without %s", w.name(i))
			}
		}
	case saga.Compensated:
		for i := range steps {
			if w.live(i) {
				w.fail("compensated while %s is there", w.name(i))
			}
		}
		if r := saga.Residue(w.def, s); len(r) > 0 {
			w.fail("compensated with %s %s in its ledger", r[0].Holding, r[0].Step)
		}
	case saga.Closed:
		w.checkClosed()
	default:
		if s.NextDue().IsZero() && !s.Paused {
			w.fail("%s and not paused, but nothing is due", s.State)
		}
	}
	if saga.StatusOf(w.def, s) == saga.StatusCompleted {
		for i := range steps {
			if !steps[i].Optional && !w.live(i) {
				w.fail("the customer was told completed, but %s is not there", w.name(i))
			}
		}
	}
}

// checkClosed: the operator was shown everything that may remain.
func (w *world) checkClosed() {
	shown := map[string]bool{}
	for _, e := range saga.Residue(w.def, &w.saga) {
		shown[e.Step] = true
	}
	for i := range w.saga.Steps {
		if w.live(i) && !shown[w.name(i)] && w.saga.Steps[i].State != saga.Settled {
			w.fail("closed, and %s remains unseen", w.name(i))
		}
	}
}

// checkEnd runs when nothing is left to happen: liveness.
func (w *world) checkEnd() {
	if !w.saga.State.Ended() {
		w.fail("quiet, but %s", w.saga.State)
	}
	if w.saga.State == saga.Closed {
		return
	}
	for i := range w.parts {
		for g := range w.parts[i] {
			if e := &w.parts[i][g]; e.stored && e.row.State == worker.StateInDoubt {
				w.fail("%s is in doubt for ever", w.name(i))
			}
		}
	}
}

func (w *world) live(step int) bool {
	for g := range w.parts[step] {
		if w.parts[step][g].live {
			return true
		}
	}
	return false
}

func (w *world) name(step int) string { return w.def.Steps()[step].Name }

func (w *world) stage(step int) int {
	for g, stage := range w.def.Stages() {
		for _, i := range stage {
			if i == step {
				return g
			}
		}
	}
	return -1
}
