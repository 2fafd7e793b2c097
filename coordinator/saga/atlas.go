package saga

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Ending is one way in which a step can end other than by plain success.
type Ending string

const (
	// EndRefused: the do is refused.
	EndRefused Ending = "refused"
	// EndSilent: the do is never answered, or only when an operator has been told.
	EndSilent Ending = "no_answer"
	// EndDoubtDone and EndDoubtRefused: the participant does not know at first.
	EndDoubtDone    Ending = "in_doubt_then_done"
	EndDoubtRefused Ending = "in_doubt_then_refused"
	// EndCancelled and EndDeadline meet the step in flight.
	EndCancelled Ending = "cancelled_in_flight"
	EndDeadline  Ending = "deadline_in_flight"
	// EndCancelledRefused: the pivot is refused while a cancel waits for it.
	EndCancelledRefused Ending = "cancelled_then_refused"
	// EndUndoRefused, EndUndoSilent and EndUndoDoubt: the step was done and its undo goes wrong at first.
	EndUndoRefused Ending = "undo_refused"
	EndUndoSilent  Ending = "undo_no_answer"
	EndUndoDoubt   Ending = "undo_in_doubt"
	// EndLateDo: the do reaches the participant after its undo.
	EndLateDo Ending = "do_after_undo"
)

// AtlasRow tells what one ending of one step leads to. It is found by playing
// the conversation through Decide.
type AtlasRow struct {
	Step   string
	Ending Ending
	// Customer lists the public statuses, in order.
	Customer []string
	// Undone lists the steps that are undone, in order.
	Undone []string
	// Operator lists what needs a person's look.
	Operator []string
	End      State
}

// Atlas is the failure atlas of a definition: every step times every way it can end.
func Atlas(d *Definition) []AtlasRow {
	var rows []AtlasRow
	for i := range d.steps {
		for _, e := range endings(&d.steps[i]) {
			rows = append(rows, play(d, i, e))
		}
	}
	return rows
}

func endings(st *Step) []Ending {
	out := []Ending{EndRefused, EndSilent}
	if st.Outside {
		out = append(out, EndDoubtDone, EndDoubtRefused)
	}
	out = append(out, EndCancelled)
	if st.Kind != Retriable {
		out = append(out, EndDeadline)
	}
	if st.Kind == Pivot {
		out = append(out, EndCancelledRefused)
	}
	if st.Kind == Compensatable {
		out = append(out, EndUndoRefused, EndUndoSilent)
		if st.Outside {
			out = append(out, EndUndoDoubt)
		}
		out = append(out, EndLateDo)
	}
	return out
}

// player answers every command with success, except where the ending says otherwise.
type player struct {
	d      *Definition
	s      Saga
	now    time.Time
	step   int
	ending Ending
	row    AtlasRow
	queue  []Action
	// spoiled says that the ending has been played.
	spoiled bool
}

func play(d *Definition, step int, ending Ending) AtlasRow {
	p := player{
		d: d, s: New(d, uuid.Nil, uuid.Nil), now: time.Unix(1_700_000_000, 0), step: step, ending: ending,
		row: AtlasRow{Step: d.steps[step].Name, Ending: ending},
	}
	p.apply(Event{Kind: Accepted})
	for round := 0; round < 200 && !p.s.State.Ended(); round++ {
		if len(p.queue) == 0 {
			p.now = p.s.NextDue()
			for _, ev := range p.s.DueEvents(p.now) {
				p.apply(ev)
			}
			continue
		}
		send := p.queue[0]
		p.queue = p.queue[1:]
		p.answer(send)
	}
	p.row.End = p.s.State
	return p.row
}

func (p *player) apply(ev Event) {
	out := Decide(p.d, p.s, ev, p.now)
	p.s = out.Saga
	for _, a := range out.Actions {
		switch {
		case a.Kind == Send:
			p.queue = append(p.queue, a)
			if a.Op == OpUndo && a.Attempt == 1 {
				p.row.Undone = append(p.row.Undone, p.d.steps[a.Step].Name)
			}
		case a.Kind == Announce && a.Fact == FactAttentionRaised:
			p.row.Operator = append(p.row.Operator, fmt.Sprintf("%s at %s", a.Attention, p.d.steps[a.Step].Name))
		case a.Kind == Answer && a.Verdict != Agreed:
			p.row.Customer = append(p.row.Customer, "(cancel: "+a.Verdict.String()+")")
		}
	}
	status := StatusOf(p.d, &p.s).String()
	if n := len(p.row.Customer); !slices.Contains(p.row.Customer, status) || n == 0 {
		p.row.Customer = append(p.row.Customer, status)
	}
}

func (p *player) answer(a Action) {
	ev := Event{Step: a.Step, Generation: a.Generation, Op: a.Op, Attempt: a.Attempt, Kind: ReplyDone, Seq: 1, Evidence: "reply"}
	if a.Op == OpUndo {
		ev.Kind, ev.Seq = UndoDone, 2
	} else {
		ev.Effects = []Effect{{Kind: p.d.steps[a.Step].Effect, Amount: 1}}
	}
	if a.Step == p.step {
		p.spoil(a, ev)
		return
	}
	// The undo of a step is provoked by a cancel that meets the step after it; a pivot must refuse.
	if p.undoEnding() && a.Op == OpDo && p.d.stage[a.Step] == p.d.stage[p.step]+1 && !p.spoiled {
		p.spoiled = true
		if p.d.steps[a.Step].Kind == Pivot {
			ev.Kind, ev.Code, ev.Effects = ReplyRefused, "refused", nil
		} else {
			p.apply(Event{Kind: CancelRequested})
		}
	}
	p.apply(ev)
}

func (p *player) undoEnding() bool {
	return p.ending == EndUndoRefused || p.ending == EndUndoSilent || p.ending == EndUndoDoubt
}

// spoil answers the step that the row is about.
func (p *player) spoil(a Action, good Event) {
	told := len(p.row.Operator) > 0
	bad := good
	bad.Effects, bad.Seq = nil, 0
	switch {
	case a.Op == OpDo && p.ending == EndRefused:
		bad.Kind, bad.Seq, bad.Code = ReplyRefused, 1, "refused"
		if told { // a retriable step is tried again under a new effect key
			bad = good
		}
		p.apply(bad)
	case a.Op == OpDo && p.ending == EndSilent:
		if told {
			p.apply(good)
		}
	case a.Op == OpDo && (p.ending == EndDoubtDone || p.ending == EndDoubtRefused):
		bad.Kind, bad.At = ReplyInDoubt, p.now.Add(5*time.Second)
		p.apply(bad)
		p.note("outcome of " + p.row.Step + " in doubt")
		if p.ending == EndDoubtRefused {
			good.Kind, good.Code, good.Effects = ReplyRefused, "refused", nil
		}
		p.spoilOnce(good)
	case a.Op == OpDo && (p.ending == EndCancelled || p.ending == EndCancelledRefused) && !p.spoiled:
		p.spoiled = true
		p.apply(Event{Kind: CancelRequested})
		if p.ending == EndCancelledRefused {
			good.Kind, good.Code, good.Effects = ReplyRefused, "refused", nil
		}
		p.apply(good)
	case a.Op == OpDo && p.ending == EndDeadline && !p.spoiled:
		p.spoiled = true
		p.now = p.s.Deadline
		p.apply(Event{Kind: DeadlinePassed})
		p.apply(good)
	case a.Op == OpDo && p.ending == EndLateDo && !p.spoiled:
		p.spoiled = true
		p.apply(Event{Kind: CancelRequested})
	case a.Op == OpUndo && p.ending == EndLateDo:
		good.Seq = 1
		p.apply(good)
		p.apply(Event{Kind: ReplyFenced, Step: a.Step, Generation: a.Generation, Op: OpDo})
		p.note("a late do of " + p.row.Step + " was fenced")
	case a.Op == OpUndo && p.ending == EndUndoRefused && !told:
		bad.Kind, bad.Code = UndoRefused, "refused"
		p.apply(bad)
	case a.Op == OpUndo && p.ending == EndUndoSilent && !told:
	case a.Op == OpUndo && p.ending == EndUndoDoubt:
		bad.Kind, bad.At = UndoDoubted, p.now.Add(5*time.Second)
		p.apply(bad)
		p.note("undo of " + p.row.Step + " in doubt")
		p.apply(good)
	default:
		p.apply(good)
	}
}

// spoilOnce lets a refused retriable step succeed under its new effect key.
func (p *player) spoilOnce(ev Event) {
	if p.spoiled && ev.Kind == ReplyRefused {
		ev.Kind, ev.Code = ReplyDone, ""
	}
	p.spoiled = true
	p.apply(ev)
}

func (p *player) note(text string) {
	if !slices.Contains(p.row.Operator, text) {
		p.row.Operator = append(p.row.Operator, text)
	}
}

// AtlasMarkdown is the failure atlas as a table for people.
func AtlasMarkdown(d *Definition) string {
	var b strings.Builder
	b.WriteString("| step | how it ends | what the customer sees | what is undone, in order | what an operator sees | end |\n")
	b.WriteString("|---|---|---|---|---|---|\n")
	for _, r := range Atlas(d) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Step, r.Ending,
			strings.Join(r.Customer, " > "), dash(r.Undone), dash(r.Operator), r.End)
	}
	return b.String()
}

func dash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
