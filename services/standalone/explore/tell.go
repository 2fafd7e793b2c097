package explore

import (
	"fmt"
	"strings"

	"recourse.dev/coordinator/saga"
	"recourse.dev/coordinator/saga/scenario"
	"recourse.dev/pkg/worker"
)

// tell plays a way once more and writes it down as a scenario: what the saga
// hears are the commands of the file, with what it answers; what happens
// elsewhere are the comments between them.
func (x *explorer) tell(way []move, broken error) *Violation {
	t := teller{x: x, player: scenario.Player{Decide: x.code.Decide}}
	fmt.Fprintf(&t.file, "# Found by the explorer: %s.\n", broken)
	t.file.WriteString("# Comments tell what the saga does not see.\n")
	t.command(scenario.Command{Name: "define", Input: x.text})
	s := x.first()
	var before saga.Saga
	for _, m := range way {
		x.unpack(&s, &before)
		t.move(&s, &before, m)
		x.decided = move{}
		_ = x.play(&s, &before, m) // the error is what is being told
	}
	return &Violation{Definition: x.name, What: broken.Error(), Moves: len(way), Scenario: t.file.String()}
}

type teller struct {
	x      *explorer
	player scenario.Player
	file   strings.Builder
}

func (t *teller) say(format string, args ...any) {
	fmt.Fprintf(&t.file, "\n# "+format+"\n", args...)
}

func (t *teller) command(c scenario.Command) {
	answer, err := t.player.Play(c)
	if err != nil {
		t.say("%v", err)
		return
	}
	fmt.Fprintf(&t.file, "\n%s\n----\n%s\n", c, strings.TrimRight(answer, "\n"))
}

func (t *teller) step(m move) string { return t.x.def.Steps()[m.step].Name }

// move tells one move; s is the state before it.
func (t *teller) move(s *state, before *saga.Saga, m move) {
	c := scenario.Command{}
	switch m.kind {
	case accept:
		c.Name = "accept"
	case cancel:
		c.Name = "cancel"
	case deadline:
		c.Name, c.Args = "tick", []scenario.Arg{{Key: "deadline"}}
	case timer:
		c.Name, c.Args = "tick", []scenario.Arg{{Key: t.step(m)}}
	case timers:
		c.Name, c.Args = "tick", []scenario.Arg{{Key: "to", Value: t.latest()}}
	case arrive:
		if m.message.command() {
			t.participant(s, m)
			return
		}
		c.Name, c.Args = "reply", []scenario.Arg{
			{Key: t.step(m)},
			{Key: scenario.ReplyName(m.message.reply())},
			{Key: "seq", Value: fmt.Sprint(m.message.seq())},
		}
		if gen := m.key + 1; uint32(gen) != before.Steps[m.step].Generation {
			c.Args = append(c.Args, scenario.Arg{Key: "gen", Value: fmt.Sprint(gen)})
		}
		if kind := m.message.reply(); kind == saga.ReplyRefused || kind == saga.UndoRefused {
			c.Args = append(c.Args, scenario.Arg{Key: "code", Value: "refused"})
		}
	case answer, actLate:
		t.outside(s, m)
		return
	case probe:
		t.say("%s: the participant asks outside again", t.step(m))
		return
	}
	switch m.fate {
	case diedBefore:
		t.say("%s: the coordinator dies before the commit", c)
		return
	case diedAfter:
		t.say("the coordinator dies after the commit of what follows, before it sends anything")
	case diedLast:
		t.say("the coordinator dies after it has sent what follows, before the offsets are committed")
	case again:
		t.say("what follows is delivered once more later")
	case once:
	}
	t.command(c)
}

// latest is an instant at which everything is due.
func (t *teller) latest() string {
	s := t.player.Saga()
	latest := s.Deadline
	for i := range s.Steps {
		if due := s.Steps[i].Due; due.After(latest) {
			latest = due
		}
	}
	return latest.Sub(scenario.Epoch).String()
}

func (t *teller) participant(s *state, m move) {
	op := m.message.op()
	if m.fate == diedBefore {
		t.say("%s: the %s arrives; the participant dies before the commit", t.step(m), op)
		return
	}
	e := &s.effects[m.step][m.key]
	verdict := t.x.code.Verdict(e.stored(), operation(op))
	row := worker.StateAbsent
	if stored := e.stored(); stored != nil {
		row = stored.State
	}
	t.say("%s: the %s, generation %d, arrives%s; the row is %s: %s%s%s",
		t.step(m), op, m.key+1, pick(m.fate == again, ", not for the last time", ""),
		row, verdict, choices[m.choice], deaths[m.fate])
}

func (t *teller) outside(s *state, m move) {
	if m.kind == actLate {
		t.say("%s: outside, the %s is acted upon late, and nobody listens:%s", t.step(m), m.message.op(),
			strings.TrimPrefix(choices[m.choice], ","))
		return
	}
	op := s.effects[m.step][m.key].calling
	t.say("%s: the call for the %s ends%s%s", t.step(m), op, choices[m.choice], deaths[m.fate])
}

var choices = [...]string{
	asTold: "", does: ", it is done", refuses: ", it is refused", putsOff: ", it is put off",
	calls: ", a call goes outside", doesMute: ", it is done, but the answer is lost",
	refusesMute: ", it is refused, but the answer is lost", isSlow: " without an answer; it may be acted upon late",
}

var deaths = [...]string{
	once: "", again: "", diedBefore: "; the participant dies before the commit",
	diedAfter: "; the participant dies after the commit, before it says anything",
	diedLast:  "; the participant dies after it has answered, before the offsets are committed",
}

func pick(cond bool, a, b string) string {
	if cond {
		return a
	}
	return b
}
