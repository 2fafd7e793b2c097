package saga

import (
	"fmt"
	"strings"
	"time"
)

// Explanation answers "why is this order where it is?".
type Explanation struct {
	// Summary is one sentence.
	Summary string
	// Why the saga goes backward, wants to, or needs a person; empty when all is well.
	Why string
	// Waiting lists what the saga waits for; empty when it has ended.
	Waiting []Wait
	// Next is what happens next by itself, and NextAt when at the latest; zero is never.
	Next   string
	NextAt time.Time
}

// Wait is one answer that a saga waits for.
type Wait struct {
	Step        string
	Participant string
	Op          Op
	State       StepState
	// Since is the first send of the operation; Attempts counts the sends.
	Since    time.Time
	Attempts uint32
	// NextAt is when Next happens unless an answer comes first.
	NextAt time.Time
	Next   string
	Detail string
}

// Explain is computed from the state alone, by the rules that Decide follows.
func Explain(d *Definition, s *Saga) Explanation {
	x := Explanation{Why: why(d, s), NextAt: s.NextDue()}
	for i := range s.Steps {
		if s.Steps[i].State.waiting() && !s.State.Ended() {
			x.Waiting = append(x.Waiting, waiting(d, s, i))
		}
	}
	x.Summary = summary(d, s, x.Waiting)
	x.Next = next(s, x)
	return x
}

func waiting(d *Definition, s *Saga, i int) Wait {
	spec, st := &d.steps[i], &s.Steps[i]
	w := Wait{
		Step: spec.Name, Participant: spec.Participant, Op: st.State.op(), State: st.State,
		Since: st.IssuedAt, Attempts: st.Attempt, NextAt: st.Due, Detail: joinCode(st.Code, st.Detail),
	}
	switch {
	case s.Paused:
		w.Next, w.NextAt = "nothing until an operator resumes the saga", time.Time{}
	case st.State.undoing():
		w.Next = "the undo is sent again, for as long as it takes"
	case s.State == Compensating:
		w.Next = "it is undone once what came after it is"
	case st.Attempt == 0:
		w.Next = "the command is sent under a new effect key"
	case st.Attempt < spec.Retry.GiveUp:
		w.Next = "the command is sent again under the same effect key"
	case spec.Kind == Compensatable:
		w.Next = "the step is given up and the order is undone"
	case spec.Optional:
		w.Next = "the step is given up; the order does without it"
	default:
		w.Next = "the command is sent again, for as long as it takes"
	}
	return w
}

func summary(d *Definition, s *Saga, waits []Wait) string {
	status := StatusOf(d, s).String()
	if s.Paused {
		return "The order is " + status + " and was paused by an operator."
	}
	if residue := Residue(d, s); s.State == Closed && len(residue) > 0 {
		return fmt.Sprintf("The order is closed by an operator; of what it brought about, %d are not proven gone.", len(residue))
	}
	if len(waits) == 0 {
		return "The order is " + status + "."
	}
	var parts []string
	for _, w := range waits {
		what := "to " + strings.ReplaceAll(w.Step, "_", " ")
		if w.Op == OpUndo {
			what = "to undo " + w.Step
		}
		doubt := ""
		if w.State == InDoubt || w.State == UndoInDoubt {
			doubt = ", which does not know the outcome yet"
		}
		parts = append(parts, fmt.Sprintf("%s %s%s", w.Participant, what, doubt))
	}
	return "The order is " + status + "; it waits for " + strings.Join(parts, " and for ") + "."
}

func why(d *Definition, s *Saga) string {
	var parts []string
	switch s.Cause {
	case CauseNone:
	case CauseRefused:
		parts = append(parts, "It is undone because a step was refused: "+refusal(d, s)+".")
	case CauseNoAnswer:
		parts = append(parts, "It is undone because "+s.CauseDetail+" was not answered.")
	case CauseCancelled:
		parts = append(parts, "It is undone because its cancellation was asked for.")
	case CauseDeadline:
		parts = append(parts, "It is undone because its deadline passed.")
	case CauseOperator:
		parts = append(parts, "It is undone because an operator asked for it: "+s.CauseDetail+".")
	}
	if s.Wish != CauseNone && s.Cause == CauseNone {
		switch s.State {
		case Running:
			parts = append(parts, "To go back was asked for ("+s.Wish.String()+"); the answer of "+
				d.steps[d.pivot].Name+" decides.")
		default:
			parts = append(parts, "To go back was asked for ("+s.Wish.String()+"), but it came too late.")
		}
	}
	if a := s.Attention; a.Kind != AttentionNone {
		parts = append(parts, fmt.Sprintf("An operator should look: %s at %s (%s).",
			a.Kind, d.steps[a.Step].Name, a.Detail))
	}
	return strings.Join(parts, " ")
}

func refusal(d *Definition, s *Saga) string {
	for i := range s.Steps {
		if s.Steps[i].State == Refused {
			return d.steps[i].Name + " (" + joinCode(s.Steps[i].Code, s.Steps[i].Detail) + ")"
		}
	}
	return s.CauseDetail
}

func next(s *Saga, x Explanation) string {
	switch {
	case s.Paused:
		return "nothing until an operator resumes the saga"
	case s.State == Completed || s.State == Closed:
		return "nothing; this is the end"
	case s.State == Compensated:
		return "nothing; every effect is proven gone"
	case s.State == Compensating && len(x.Waiting) == 0:
		return "nothing until an operator settles what cannot be undone, or closes the saga"
	case !s.Deadline.IsZero() && s.Deadline.Equal(x.NextAt):
		return "the order's deadline passes and it is undone"
	}
	for _, w := range x.Waiting {
		if w.NextAt.Equal(x.NextAt) {
			return w.Next
		}
	}
	return ""
}

func joinCode(code, detail string) string {
	if code == "" || detail == "" {
		return code + detail
	}
	return code + ": " + detail
}
