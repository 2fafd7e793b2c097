package saga

import (
	"fmt"
	"strings"
)

// Mermaid draws a definition: the way forward, and the way back.
func Mermaid(d *Definition) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	b.WriteString("  accepted([accepted])\n")
	for i := range d.steps {
		st := &d.steps[i]
		label := st.Name + "<br/>" + st.Participant
		switch {
		case st.Kind == Pivot:
			fmt.Fprintf(&b, "  %s{{%q}}\n", st.Name, label+"<br/>pivot")
		case st.Optional:
			fmt.Fprintf(&b, "  %s(%q)\n", st.Name, label+"<br/>optional")
		default:
			fmt.Fprintf(&b, "  %s[%q]\n", st.Name, label)
		}
		if st.Undo != "" {
			fmt.Fprintf(&b, "  undo_%s[/%q/]\n", st.Name, "undo "+st.Name)
		}
	}
	b.WriteString("  completed([completed])\n  cancelled([cancelled])\n")
	from := []string{"accepted"}
	for _, stage := range d.stages {
		var to []string
		for _, i := range stage {
			to = append(to, d.steps[i].Name)
		}
		arrows(&b, from, to, "-->")
		from = to
	}
	arrows(&b, from, []string{"completed"}, "-->")

	// Backward: the stages that can be undone, last first.
	var back [][]string
	for g := len(d.stages) - 1; g >= 0; g-- {
		var names []string
		for _, i := range d.stages[g] {
			if d.steps[i].Undo != "" {
				names = append(names, "undo_"+d.steps[i].Name)
			}
		}
		if len(names) > 0 {
			back = append(back, names)
		}
	}
	for k := range back {
		if k+1 < len(back) {
			arrows(&b, back[k], back[k+1], "-.->")
		} else {
			arrows(&b, back[k], []string{"cancelled"}, "-.->")
		}
	}
	if d.pivot >= 0 && len(back) > 0 {
		arrows(&b, []string{d.steps[d.pivot].Name}, back[0], "-. refused .->")
	}
	return b.String()
}

func arrows(b *strings.Builder, from, to []string, arrow string) {
	for _, f := range from {
		for _, t := range to {
			fmt.Fprintf(b, "  %s %s %s\n", f, arrow, t)
		}
	}
}

// StepDiagram draws the step table, without the rows that change nothing.
func StepDiagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n  [*] --> idle\n")
	for _, row := range stepTable {
		if row.to == same {
			continue
		}
		for _, from := range row.in {
			if from != row.to {
				fmt.Fprintf(&b, "  %s --> %s: %s\n", from, row.to, guarded(row.on, row.when.name))
			}
		}
	}
	return b.String()
}

// SagaDiagram draws the saga table, without the rows that change nothing.
func SagaDiagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n  [*] --> running: accepted\n")
	for _, row := range sagaTable {
		if row.to == stay {
			continue
		}
		for _, from := range row.in {
			fmt.Fprintf(&b, "  %s --> %s: %s\n", from, row.to, guarded(row.on, row.when.name))
		}
	}
	for _, s := range []State{Completed, Compensated, Closed} {
		fmt.Fprintf(&b, "  %s --> [*]\n", s)
	}
	return b.String()
}

func guarded(on EventKind, when string) string {
	if when == "" {
		return on.String()
	}
	return on.String() + " (" + when + ")"
}
