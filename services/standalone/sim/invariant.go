package sim

import (
	"recourse.dev/pkg/worker"
	"recourse.dev/services/standalone/invariant"
)

func (w *world) checkHappened(step int, e *effect) {
	w.hold(invariant.Happened(w.def, w, step, e.fenced, e.dos))
}

func (w *world) checkUnhappened(step int) { w.hold(invariant.Unhappened(w.def, w, step)) }

// checkAlways runs after every event.
func (w *world) checkAlways() { w.hold(invariant.Always(w.def, &w.saga, w)) }

// checkEnd runs when nothing is left to happen: liveness.
func (w *world) checkEnd() {
	w.hold(invariant.Ended(w.def, &w.saga, func(step int) bool {
		for g := range w.parts[step] {
			if e := &w.parts[step][g]; e.stored && e.row.State == worker.StateInDoubt {
				return true
			}
		}
		return false
	}))
}

func (w *world) hold(err error) {
	if err != nil {
		w.fail("%w", err)
	}
}

// Live is the ground truth, as invariant.World wants it.
func (w *world) Live(step int) int {
	n := 0
	for g := range w.parts[step] {
		if w.parts[step][g].live {
			n++
		}
	}
	return n
}
