package invariant

import (
	"errors"
	"fmt"

	"recourse.dev/coordinator/saga"
)

// ErrBroken is what a command ends with that has shown what broke already.
var ErrBroken = errors.New("not green")

// World is the ground truth.
type World interface {
	// Live is the number of effect keys under which the step's effect is there.
	Live(step int) int
}

// Happened holds the moment at which an effect comes about to the promises
// that were given before it. fenced says that its undo was acknowledged, dos
// how often it has come about under its effect key.
func Happened(d *saga.Definition, w World, step int, fenced bool, dos int) error {
	switch {
	case fenced:
		return fmt.Errorf("%s happened after its undo was acknowledged", name(d, step))
	case dos > 1:
		return fmt.Errorf("%s happened %d times under one effect key", name(d, step), dos)
	case w.Live(step) > 1:
		return fmt.Errorf("%s happened under two effect keys at once", name(d, step))
	}
	return nil
}

// Unhappened holds the moment at which an effect is taken back: everything
// after it is gone, so nothing is taken back past the pivot either.
func Unhappened(d *saga.Definition, w World, step int) error {
	for later := step + 1; later < len(d.Steps()); later++ {
		if w.Live(later) > 0 && stage(d, later) != stage(d, step) {
			return fmt.Errorf("%s was undone while %s, which comes after it, is there", name(d, step), name(d, later))
		}
	}
	return nil
}

// Decided holds one decision to the rules that no state shows by itself: which
// way a saga may go, what it may send on which way, and what its answers bind it to.
// Participants are taken to keep their contract, so none may be accused of a breach.
func Decided(d *saga.Definition, before *saga.Saga, ev *saga.Event, out *saga.Decision) error {
	after := &out.Saga
	if !mayGo(before.State, after.State) {
		return fmt.Errorf("the saga went from %s to %s", before.State, after.State)
	}
	if a := after.Attention; a.Kind == saga.ContractViolation && before.Attention.Kind != a.Kind {
		return fmt.Errorf("%s is accused of a broken contract: %s", name(d, a.Step), a.Detail)
	}
	for i := range out.Actions {
		if err := acted(d, after, ev, &out.Actions[i]); err != nil {
			return err
		}
	}
	return nil
}

// mayGo says whether one event may take a saga from one state to another,
// perhaps through others.
func mayGo(from, to saga.State) bool {
	switch from {
	case saga.Running:
		return true
	case saga.Completing:
		return to == saga.Completing || to == saga.Completed || to == saga.Closed
	case saga.Compensating:
		return to == saga.Compensating || to == saga.Compensated || to == saga.Closed
	case saga.Completed, saga.Compensated, saga.Closed:
		return to == from
	}
	return to == saga.Running // not accepted yet
}

func acted(d *saga.Definition, after *saga.Saga, ev *saga.Event, a *saga.Action) error {
	switch a.Kind {
	case saga.Send:
		if a.Op == saga.OpDo && after.State != saga.Running && after.State != saga.Completing {
			return fmt.Errorf("%s was asked for while the saga is %s", name(d, a.Step), after.State)
		}
		if a.Op == saga.OpUndo && after.State != saga.Compensating {
			return fmt.Errorf("%s was to be undone while the saga is %s", name(d, a.Step), after.State)
		}
		if a.Op == saga.OpUndo && d.Steps()[a.Step].Undo == "" {
			return fmt.Errorf("%s was to be undone, and there is no way to undo it", name(d, a.Step))
		}
	case saga.Answer:
		if ev.Kind != saga.CancelRequested && ev.Kind != saga.OperatorUndo {
			return nil
		}
		if a.Verdict == saga.Agreed && after.State != saga.Compensating && after.State != saga.Compensated {
			return fmt.Errorf("a wish to go back was agreed to, and the saga is %s", after.State)
		}
		if a.Verdict == saga.TooLate && after.State != saga.Completing && after.State != saga.Completed {
			return fmt.Errorf("a wish to go back was too late, and the saga is %s", after.State)
		}
	case saga.Announce:
	}
	return nil
}

// Always holds a state to what was claimed in it.
func Always(d *saga.Definition, s *saga.Saga, w World) error {
	for i := range s.Steps {
		switch s.Steps[i].State {
		case saga.Done:
			// Nothing may be taken back behind the coordinator's back, so what it holds is there.
			if w.Live(i) == 0 {
				return fmt.Errorf("the saga holds %s, which is not there", name(d, i))
			}
		case saga.Undone, saga.Refused:
			if w.Live(i) > 0 {
				return fmt.Errorf("the saga has proof that %s is gone, and it is there", name(d, i))
			}
		default:
		}
	}
	if saga.StatusOf(d, s) == saga.StatusCompleted {
		if err := fulfilled(d, w); err != nil {
			return fmt.Errorf("the customer was told completed: %w", err)
		}
	}
	if saga.StatusOf(d, s) == saga.StatusCancelled {
		if err := gone(d, s, w); err != nil {
			return fmt.Errorf("the customer was told cancelled: %w", err)
		}
	}
	switch s.State {
	case saga.Completed:
		return fulfilled(d, w)
	case saga.Compensated:
		return gone(d, s, w)
	case saga.Closed:
		return shown(d, s, w)
	default:
		if s.NextDue().IsZero() && !s.Paused {
			return fmt.Errorf("%s and not paused, but nothing is due", s.State)
		}
	}
	return nil
}

func fulfilled(d *saga.Definition, w World) error {
	for i, spec := range d.Steps() {
		if !spec.Optional && w.Live(i) == 0 {
			return fmt.Errorf("completed without %s", spec.Name)
		}
	}
	return nil
}

func gone(d *saga.Definition, s *saga.Saga, w World) error {
	for i, spec := range d.Steps() {
		if w.Live(i) > 0 {
			return fmt.Errorf("compensated while %s is there", spec.Name)
		}
	}
	if r := saga.Residue(d, s); len(r) > 0 {
		return fmt.Errorf("compensated with %s %s in its ledger", r[0].Holding, r[0].Step)
	}
	return nil
}

// shown: the operator who closed it was shown everything that may remain.
func shown(d *saga.Definition, s *saga.Saga, w World) error {
	seen := map[string]bool{}
	for _, e := range saga.Residue(d, s) {
		seen[e.Step] = true
	}
	for i := range s.Steps {
		if w.Live(i) > 0 && !seen[name(d, i)] && s.Steps[i].State != saga.Settled {
			return fmt.Errorf("closed, and %s remains unseen", name(d, i))
		}
	}
	return nil
}

// Ended holds a saga to which nothing more can happen: liveness. doubtful says
// whether a participant still does not know what became of a step.
func Ended(d *saga.Definition, s *saga.Saga, doubtful func(step int) bool) error {
	if !s.State.Ended() {
		return fmt.Errorf("quiet, but %s", s.State)
	}
	if s.State == saga.Closed {
		return nil
	}
	if s.Attention.Kind != saga.AttentionNone {
		return errors.New("ended, and an operator is still asked to look")
	}
	for i := range s.Steps {
		if doubtful(i) {
			return fmt.Errorf("%s is in doubt for ever", name(d, i))
		}
	}
	return nil
}

func name(d *saga.Definition, step int) string { return d.Steps()[step].Name }

func stage(d *saga.Definition, step int) int {
	for g, stage := range d.Stages() {
		for _, i := range stage {
			if i == step {
				return g
			}
		}
	}
	return -1
}
