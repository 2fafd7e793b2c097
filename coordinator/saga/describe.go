package saga

import "fmt"

// Describe says in one line which row was taken: for histories and scenario files.
func Describe(d *Definition, tr Transition) string {
	var who, from, to string
	if tr.Step < 0 {
		who, from, to = "saga", State(tr.From).String(), State(tr.To).String()
	} else {
		who, from, to = d.steps[tr.Step].Name, StepState(tr.From).String(), StepState(tr.To).String()
	}
	if from == to {
		return fmt.Sprintf("%s: %s in %s: %s", who, tr.Event, from, tr.Do)
	}
	return fmt.Sprintf("%s: %s in %s -> %s: %s", who, tr.Event, from, to, tr.Do)
}

// DescribeAction says in one line what is to be done.
func DescribeAction(d *Definition, a Action) string {
	switch a.Kind {
	case Send:
		s := &d.steps[a.Step]
		command := s.Do
		if a.Op == OpUndo {
			command = s.Undo
		}
		return fmt.Sprintf("send %s to %s, generation %d, attempt %d", command, s.Participant, a.Generation, a.Attempt)
	case Announce:
		if a.Fact == FactAttentionRaised || a.Fact == FactAttentionCleared {
			return fmt.Sprintf("announce %s: %s at %s", a.Fact, a.Attention, d.steps[a.Step].Name)
		}
		return "announce " + a.Fact.String()
	case Answer:
		return "answer " + a.Verdict.String()
	}
	return "unknown action"
}
