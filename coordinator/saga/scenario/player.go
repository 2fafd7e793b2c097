package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"recourse.dev/coordinator/saga"
)

// Epoch is when every scenario begins.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Command is one line of a scenario, with the lines below it.
type Command struct {
	Name  string
	Args  []Arg
	Input string
}

// Arg is one word of a command: KEY or KEY=VALUE.
type Arg struct{ Key, Value string }

// String is the command as it stands in a file.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(c.Name)
	for _, a := range c.Args {
		b.WriteString(" " + a.Key)
		if a.Value != "" {
			b.WriteString("=" + a.Value)
		}
	}
	if c.Input != "" {
		b.WriteString("\n" + c.Input)
	}
	return b.String()
}

// Player is one conversation. Its zero value is ready for a define.
type Player struct {
	// Decide is saga.Decide unless it is set: a defect is shown with the code that has it.
	Decide func(*saga.Definition, saga.Saga, saga.Event, time.Time) saga.Decision

	def  *saga.Definition
	saga saga.Saga
	now  time.Time
	seq  uint32
}

// Saga is where the conversation stands.
func (p *Player) Saga() *saga.Saga { return &p.saga }

// Play carries out one command and returns everything that follows from it.
// The error is about the command, not about what the saga made of it.
func (p *Player) Play(c Command) (string, error) {
	if c.Name == "define" {
		return p.define(c.Input)
	}
	if p.def == nil {
		return "", fmt.Errorf("%s stands before the definition", c.Name)
	}
	switch c.Name {
	case "accept":
		return p.apply(saga.Event{Kind: saga.Accepted}), nil
	case "reply":
		return p.reply(c.Args)
	case "tick":
		return p.tick(c.Args)
	case "cancel":
		return p.apply(saga.Event{Kind: saga.CancelRequested, Detail: "asked by the customer"}), nil
	case "undo":
		return p.apply(saga.Event{Kind: saga.OperatorUndo, Detail: "asked by ann"}), nil
	case "pause":
		return p.apply(saga.Event{Kind: saga.OperatorPause}), nil
	case "resume":
		return p.apply(saga.Event{Kind: saga.OperatorResume}), nil
	case "close":
		return p.apply(saga.Event{Kind: saga.OperatorClose, Detail: "closed by ann"}), nil
	case "retry":
		return p.ofStep(c.Args, saga.Event{Kind: saga.OperatorRetry})
	case "settle":
		return p.ofStep(c.Args, saga.Event{Kind: saga.OperatorSettle, Detail: "seen by ann"})
	case "show":
		return p.show(), nil
	}
	return "", fmt.Errorf("unknown command %q", c.Name)
}

// Define reads the lines below a define.
func Define(input string) (*saga.Definition, error) {
	var stages []saga.Stage
	for line := range strings.SplitSeq(strings.TrimSpace(input), "\n") {
		var stage saga.Stage
		for part := range strings.SplitSeq(line, "|") {
			f := strings.Fields(part)
			if len(f) < 3 {
				return nil, fmt.Errorf("a step is NAME KIND PARTICIPANT and more, not %q", part)
			}
			st, err := step(f)
			if err != nil {
				return nil, err
			}
			stage = append(stage, st)
		}
		stages = append(stages, stage)
	}
	return saga.Define("test", 1, 10*time.Minute, stages...)
}

func step(f []string) (saga.Step, error) {
	st := saga.Step{
		Name: f[0], Participant: f[2], Do: "do." + f[0], Effect: f[0], Claim: f[0] + "_done", Unclaim: f[0] + "_undone",
		Retry: saga.Retry{First: 10 * time.Second, Max: 40 * time.Second, GiveUp: 3},
	}
	switch f[1] {
	case "compensatable":
		st.Kind, st.Undo = saga.Compensatable, "undo."+f[0]
	case "pivot":
		st.Kind = saga.Pivot
	case "retriable":
		st.Kind = saga.Retriable
	}
	for _, word := range f[3:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "outside":
			st.Outside = true
		case "optional":
			st.Optional = true
		case "consumes":
			st.Consumes = value
		case "give_up":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return st, fmt.Errorf("reading %q of step %q: %w", word, f[0], err)
			}
			st.Retry.GiveUp = uint32(n)
		default:
			return st, fmt.Errorf("step %q has an unknown word %q", f[0], word)
		}
	}
	return st, nil
}

func (p *Player) define(input string) (string, error) {
	d, err := Define(input)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // a scenario may be about a definition that is refused
	}
	p.def, p.now = d, Epoch
	p.saga = saga.New(d, uuid.MustParse("00000000-0000-7000-8000-000000000001"), uuid.Nil)
	return d.Hash().String(), nil
}

func (p *Player) index(args []Arg) (int, error) {
	if len(args) == 0 {
		return 0, fmt.Errorf("it needs a step")
	}
	i, ok := p.def.Index(args[0].Key)
	if !ok {
		return 0, fmt.Errorf("no step %q", args[0].Key)
	}
	return i, nil
}

func (p *Player) ofStep(args []Arg, ev saga.Event) (string, error) {
	i, err := p.index(args)
	if err != nil {
		return "", err
	}
	ev.Step = i
	return p.apply(ev), nil
}

// apply prints the rows that were taken, what is sent and said, and where the saga stands.
func (p *Player) apply(ev saga.Event) string {
	decide := p.Decide
	if decide == nil {
		decide = saga.Decide
	}
	before := p.saga.Revision
	out := decide(p.def, p.saga, ev, p.now)
	p.saga = out.Saga
	var b strings.Builder
	for _, tr := range out.Trace {
		b.WriteString(saga.Describe(p.def, tr) + "\n")
	}
	for _, a := range out.Actions {
		b.WriteString("=> " + saga.DescribeAction(p.def, a) + "\n")
	}
	if !out.Changed {
		if p.saga.Revision != before {
			b.WriteString("a new revision, yet ")
		}
		return b.String() + "unchanged\n"
	}
	fmt.Fprintf(&b, "%s (%s):", p.saga.State, saga.StatusOf(p.def, &p.saga))
	for i, st := range p.saga.Steps {
		fmt.Fprintf(&b, " %s=%s", p.def.Steps()[i].Name, st.State)
	}
	if p.saga.Attention.Kind != saga.AttentionNone {
		fmt.Fprintf(&b, " attention=%s", p.saga.Attention.Kind)
	}
	return b.String() + "\n"
}
