package saga

import (
	"strconv"
	"time"
)

var never time.Time

// Decide applies one event. It changes nothing that it is given: the saga in
// the decision is a copy. now is the one instant of the transaction.
func Decide(d *Definition, before Saga, ev Event, now time.Time) Decision {
	t := turn{d: d, now: now, ev: ev, out: Decision{Saga: before, Changed: true}}
	t.s, t.out.Actions, t.out.Trace = &t.out.Saga, t.actions[:0], t.trace[:0]
	t.s.Steps = append(make([]StepStatus, 0, len(before.Steps)), before.Steps...)
	fulfilled := before.State != 0 && Fulfilled(d, &before)

	switch {
	case ev.Kind == Accepted:
		t.accept()
	case t.s.State == Closed && (ev.Kind == OperatorRetry || ev.Kind == OperatorSettle):
		t.unchanged()
		t.answer(AlreadyEnded)
	case t.s.State == Closed && ev.Kind.ofStep():
		// An operator answered for what remains; facts that still arrive are kept for them.
		st := uint8(t.s.Steps[ev.Step].State)
		t.note(ev.Step, ev.Kind, st, st, "keep as evidence")
		t.unchanged()
	case ev.Kind.ofStep():
		if t.matches() {
			t.stepEvent(ev.Step, ev.Kind)
		}
	default:
		t.sagaEvent(ev.Kind)
	}
	t.advance()

	if !fulfilled && Fulfilled(d, t.s) {
		t.announce(FactCompleted)
	}
	if t.out.Changed {
		t.s.Revision++
	}
	return t.out
}

// turn is one call of Decide.
type turn struct {
	d   *Definition
	s   *Saga
	now time.Time
	ev  Event
	// at is the step that the current row is about.
	at  int
	out Decision
	// Room for as much as nearly every event comes to: one piece of memory in place of six.
	actions [3]Action
	trace   [3]Transition
}

func (t *turn) spec() *Step       { return &t.d.steps[t.at] }
func (t *turn) step() *StepStatus { return &t.s.Steps[t.at] }

func (t *turn) accept() {
	if t.s.State != 0 {
		t.unchanged()
		return
	}
	t.s.State, t.s.Since, t.s.CreatedAt = Running, t.now, t.now
	t.s.Deadline = t.ev.At
	if t.s.Deadline.IsZero() {
		t.s.Deadline = t.now.Add(t.d.deadline)
	}
	t.note(-1, Accepted, 0, uint8(Running), "begin")
	t.announce(FactAccepted)
}

// matches compares a reply or a timer with the step that it names. What belongs
// to another generation, or to a send that is no longer current, is not about
// this state at all.
func (t *turn) matches() bool {
	t.at = t.ev.Step
	st := t.step()
	switch {
	case t.ev.Kind == TimerFired:
		if st.State.waiting() && t.ev.Generation == st.Generation && t.ev.Op == st.State.op() && t.ev.Attempt == st.Attempt &&
			!st.Due.After(t.now) {
			return true
		}
		t.note(t.at, t.ev.Kind, uint8(st.State), uint8(st.State), "ignore, it is no longer current")
		t.unchanged()
		return false
	case t.ev.Kind.reply() && t.ev.Generation != st.Generation:
		t.note(t.at, t.ev.Kind, uint8(st.State), uint8(st.State), "keep as evidence, it is of another generation")
		t.unchanged()
		// The key of an earlier generation was proven to have no effect.
		if t.ev.Kind == ReplyDone {
			t.raise(ContractViolation, "done under an effect key that was refused")
		}
		return false
	}
	return true
}

// stepEvent takes the one row of the step table that fits.
func (t *turn) stepEvent(step int, kind EventKind) {
	t.at = step
	from := t.step().State
	for _, row := range stepRows[from][kind] {
		if !row.when.holds(t) {
			continue
		}
		if row.to != same && row.to != from {
			t.step().State, t.step().Since = row.to, t.now
		}
		t.note(step, kind, uint8(from), uint8(t.step().State), row.do.name)
		row.do.run(t)
		return
	}
	panic("saga: no row for " + kind.String() + " in " + from.String()) // a test proves that there is one
}

// sagaEvent takes the one row of the saga table that fits.
func (t *turn) sagaEvent(kind EventKind) {
	from := t.s.State
	for _, row := range sagaRows[from][kind] {
		if !row.when.holds(t) {
			continue
		}
		if row.to != stay && row.to != from {
			t.s.State, t.s.Since = row.to, t.now
		}
		if row.do.name != proceed.name || t.ev.Kind == kind {
			t.note(-1, kind, uint8(from), uint8(t.s.State), row.do.name)
		}
		row.do.run(t)
		return
	}
	panic("saga: no row for " + kind.String() + " in " + from.String())
}

// then lets the saga hear what a step has to tell it. It is a consequence of
// the event at hand, so it cannot make that event a mere piece of evidence.
func (t *turn) then(kind EventKind) {
	changed := t.out.Changed
	t.sagaEvent(kind)
	t.out.Changed = changed
}

// inner applies what the saga does to one of its steps.
func (t *turn) inner(step int, kind EventKind) {
	changed := t.out.Changed
	t.stepEvent(step, kind)
	t.out.Changed = changed || t.out.Changed
}

// advance issues what can be issued, or undoes what must be undone, until the
// saga waits for somebody else.
func (t *turn) advance() {
	if !t.out.Changed {
		return
	}
	// A fact, not a deed: a paused saga too is past the point of no return once its pivot is done.
	if t.s.State == Running && t.d.committed(t.s) {
		t.then(PointOfNoReturn)
	}
	if t.s.Paused {
		return
	}
	if t.s.State == Running || t.s.State == Completing {
		t.forward()
	}
	if t.s.State == Compensating {
		t.backward()
	}
}

func (t *turn) forward() {
	for _, stage := range t.d.stages {
		complete := true
		for _, i := range stage {
			if t.s.Steps[i].State == Idle {
				t.inner(i, StepIssue)
			}
			complete = complete && (t.s.Steps[i].State == Done || t.d.steps[i].Optional)
		}
		if !complete {
			return
		}
	}
	for i := range t.s.Steps {
		if t.s.Steps[i].State.waiting() {
			return // an optional step is still on its way
		}
	}
	t.then(AllDone)
}

func (t *turn) backward() {
	gone := true
	for g := len(t.d.stages) - 1; g >= 0; g-- {
		busy := false
		for _, i := range t.d.stages[g] {
			if st := t.s.Steps[i].State; st == Idle || st == Done || st.open() {
				t.inner(i, StepUndo)
			}
			st := t.s.Steps[i].State
			busy = busy || st.undoing()
			gone = gone && st != Done
		}
		if busy {
			return // a stuck undo blocks only what lies beneath it
		}
	}
	if gone {
		t.then(AllUndone)
	}
}

// back says whether the saga undoes or has undone what it did.
func (t *turn) back() bool { return t.s.State == Compensating || t.s.State == Compensated }

func (t *turn) pivotOpen() bool { return t.d.pivot >= 0 && t.s.Steps[t.d.pivot].State.open() }

func (t *turn) deadlineDue() bool { return !t.s.Deadline.IsZero() && !t.s.Deadline.After(t.now) }

func (t *turn) spent() bool { return t.step().Attempt >= t.spec().Retry.GiveUp }

// unchanged marks the event as one that left the saga as it was.
func (t *turn) unchanged() { t.out.Changed = false }

func (t *turn) note(step int, on EventKind, from, to uint8, do string) {
	t.out.Trace = append(t.out.Trace, Transition{Step: step, Event: on, From: from, To: to, Do: do})
}

func (t *turn) announce(f Fact) {
	t.out.Actions = append(t.out.Actions, Action{Kind: Announce, Fact: f, Attention: t.s.Attention.Kind, Step: t.at})
}

func (t *turn) answer(v Verdict) {
	t.out.Actions = append(t.out.Actions, Action{Kind: Answer, Verdict: v})
}

func (t *turn) sendFirst(op Op) {
	st := t.step()
	st.Attempt, st.IssuedAt = 0, t.now
	st.EverIssued = true
	t.send(op)
}

func (t *turn) sendAgain() { t.send(t.step().State.op()) }

func (t *turn) send(op Op) {
	st := t.step()
	st.Attempt++
	st.Due = t.now.Add(wait(t.spec().Retry, st.Attempt, jitter(t.s, t.at, op, st.Attempt)))
	t.out.Actions = append(t.out.Actions, Action{
		Kind: Send, Step: t.at, Op: op, Generation: st.Generation, Attempt: st.Attempt,
	})
}

func (t *turn) holdEffect() {
	t.quiet()
	t.noteEffect()
	t.step().Code, t.step().Detail = "", ""
}

func (t *turn) noteEffect() {
	st := t.step()
	st.Effects, st.Handles, st.Evidence = t.ev.Effects, t.ev.Handles, t.ev.Evidence
	st.Seq = max(st.Seq, t.ev.Seq)
}

func (t *turn) noteRefusal() {
	st := t.step()
	st.Code, st.Detail, st.Evidence = t.ev.Code, t.ev.Detail, t.ev.Evidence
	if st.Code == "" {
		st.Code = "fenced"
	}
	st.Seq = max(st.Seq, t.ev.Seq)
}

// quiet ends the step's waiting, and the attention that was raised about it. A
// broken contract stays in sight until the effect in question is proven gone.
func (t *turn) quiet() {
	t.step().Due = never
	if t.s.Attention.Kind != ContractViolation {
		t.clearAttention()
	}
}

func (t *turn) clearAttention() {
	if t.s.Attention.Kind != AttentionNone && t.s.Attention.Step == t.at {
		kind := t.s.Attention.Kind
		t.s.Attention = Attention{}
		t.out.Actions = append(t.out.Actions, Action{Kind: Announce, Fact: FactAttentionCleared, Attention: kind, Step: t.at})
	}
}

func (t *turn) raise(kind AttentionKind, detail string) {
	t.out.Changed = true
	if t.s.Attention.Kind == kind && t.s.Attention.Step == t.at {
		return
	}
	// A broken contract is the graver news; it is not covered up by a slow answer.
	if t.s.Attention.Kind == ContractViolation {
		return
	}
	t.s.Attention = Attention{Kind: kind, Step: t.at, Since: t.now, Detail: detail}
	t.announce(FactAttentionRaised)
}

// waitUntil follows what the participant said, within an hour: a participant
// must not be able to put an order to sleep.
func (t *turn) waitUntil() {
	st := t.step()
	st.Code, st.Detail = t.ev.Code, t.ev.Detail
	if st.State.open() && t.back() {
		st.Due = never // its undo comes next, not another do
		return
	}
	first := t.spec().Retry.First
	at := t.ev.At
	if at.Before(t.now) {
		at = t.now
	}
	if latest := t.now.Add(time.Hour); at.After(latest) {
		at = latest
	}
	if st.State == InDoubt || st.State == UndoInDoubt {
		at = at.Add(first) // it will speak first when it knows; ask a little later than it asks
	}
	st.Due = at
}

func (t *turn) turnBack() {
	cause, detail := t.causeOfEvent()
	if t.s.Wish != CauseNone {
		cause, detail = t.s.Wish, t.s.WishDetail
	}
	t.s.Cause, t.s.CauseDetail, t.s.Deadline = cause, detail, never
	for i := range t.s.Steps {
		if t.s.Steps[i].State.open() {
			t.s.Steps[i].Due = never // no do is sent again; its undo is, once its turn has come
		}
	}
	t.announce(FactCancelling)
}

func (t *turn) wish() {
	if t.s.Wish == CauseNone {
		t.s.Wish, t.s.WishDetail = t.causeOfEvent()
	}
}

func (t *turn) causeOfEvent() (Cause, string) {
	switch t.ev.Kind {
	case CancelRequested:
		return CauseCancelled, t.ev.Detail
	case DeadlinePassed:
		return CauseDeadline, "deadline_passed"
	case OperatorUndo:
		return CauseOperator, t.ev.Detail
	case TimerFired:
		return CauseNoAnswer, t.spec().Name
	default:
		return CauseRefused, t.step().Code
	}
}

// Fulfilled says that every step that must be there is proven there.
func Fulfilled(d *Definition, s *Saga) bool {
	for i := range d.steps {
		if !d.steps[i].Optional && s.Steps[i].State != Done {
			return false
		}
	}
	return s.State == Completing || s.State == Completed
}

// The tables, indexed.
var (
	stepRows [Settled + 1][StepUndo + 1][]stepRow
	sagaRows [Closed + 1][EffectReturned + 1][]sagaRow
)

func init() { //nolint:gochecknoinits // the index of two constant tables
	for _, row := range stepTable {
		for _, s := range row.in {
			stepRows[s][row.on] = append(stepRows[s][row.on], row)
		}
	}
	for _, row := range sagaTable {
		for _, s := range row.in {
			sagaRows[s][row.on] = append(sagaRows[s][row.on], row)
		}
	}
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
