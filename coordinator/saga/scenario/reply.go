package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"recourse.dev/coordinator/saga"
)

var replies = []struct {
	name string
	kind saga.EventKind
	op   saga.Op
}{
	{"done", saga.ReplyDone, saga.OpDo},
	{"refused", saga.ReplyRefused, saga.OpDo},
	{"retry", saga.ReplyRetry, saga.OpDo},
	{"in_doubt", saga.ReplyInDoubt, saga.OpDo},
	{"fenced", saga.ReplyFenced, saga.OpDo},
	{"undone", saga.UndoDone, saga.OpUndo},
	{"undo_refused", saga.UndoRefused, saga.OpUndo},
	{"undo_retry", saga.UndoRetry, saga.OpUndo},
	{"undo_in_doubt", saga.UndoDoubted, saga.OpUndo},
}

// ReplyName is what a scenario calls a reply.
func ReplyName(kind saga.EventKind) string {
	for _, r := range replies {
		if r.kind == kind {
			return r.name
		}
	}
	return kind.String()
}

func (p *Player) reply(args []Arg) (string, error) {
	i, err := p.index(args)
	if err != nil {
		return "", err
	}
	p.seq++
	ev := saga.Event{
		Step: i, Generation: p.saga.Steps[i].Generation, Seq: p.seq,
		Actor: "participant:" + p.def.Steps()[i].Participant, Evidence: "msg-" + strconv.Itoa(int(p.seq)),
	}
	if len(args) < 2 {
		return "", fmt.Errorf("a reply is STEP KIND and more")
	}
	for _, r := range replies {
		if r.name == args[1].Key {
			ev.Kind, ev.Op = r.kind, r.op
		}
	}
	if ev.Kind == 0 {
		return "", fmt.Errorf("no reply %q", args[1].Key)
	}
	if step := args[0].Key; ev.Kind == saga.ReplyDone {
		ev.Effects = []saga.Effect{{Kind: step, Amount: 1, Unit: "unit", Handle: step + "-1"}}
	}
	for _, arg := range args[2:] {
		if err := p.detail(&ev, arg); err != nil {
			return "", fmt.Errorf("reading %s=%s: %w", arg.Key, arg.Value, err)
		}
	}
	return p.apply(ev), nil
}

func (p *Player) detail(ev *saga.Event, arg Arg) error {
	switch arg.Key {
	case "seq", "gen":
		n, err := strconv.ParseUint(arg.Value, 10, 32)
		if err != nil {
			return err
		}
		if arg.Key == "seq" {
			ev.Seq = uint32(n)
		} else {
			ev.Generation = uint32(n)
		}
	case "code":
		ev.Code = arg.Value
	case "after":
		d, err := time.ParseDuration(arg.Value)
		if err != nil {
			return err
		}
		ev.At = p.now.Add(d)
	default:
		return fmt.Errorf("a reply has no such word")
	}
	return nil
}

func (p *Player) tick(args []Arg) (string, error) {
	only := ""
	switch {
	case len(args) > 0 && args[0].Key == "to":
		d, err := time.ParseDuration(args[0].Value)
		if err != nil {
			return "", fmt.Errorf("reading to=%s: %w", args[0].Value, err)
		}
		p.now = Epoch.Add(d)
	case len(args) > 0:
		only = args[0].Key
		due := p.saga.Deadline
		if only != "deadline" {
			i, err := p.index(args)
			if err != nil {
				return "", err
			}
			due = p.saga.Steps[i].Due
		}
		if due.After(p.now) {
			p.now = due
		}
	default:
		if due := p.saga.NextDue(); !due.IsZero() {
			p.now = due
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "at %s\n", clock(p.now))
	for _, ev := range p.saga.DueEvents(p.now) {
		if only == "" || only == p.timerName(ev) {
			b.WriteString(p.apply(ev))
		}
	}
	return b.String(), nil
}

func (p *Player) timerName(ev saga.Event) string {
	if ev.Kind == saga.DeadlinePassed {
		return "deadline"
	}
	return p.def.Steps()[ev.Step].Name
}

func (p *Player) show() string {
	var b strings.Builder
	for _, e := range saga.Ledger(p.def, &p.saga) {
		fmt.Fprintf(&b, "%s: %s %d %s %s %s\n", e.Holding, e.Kind, e.Amount, e.Unit, e.Handle, e.Evidence)
	}
	for _, c := range saga.Claims(p.def, &p.saga) {
		fmt.Fprintf(&b, "claim %s since %s by %s\n", c.Name, clock(c.Since), c.Evidence)
	}
	x := saga.Explain(p.def, &p.saga)
	b.WriteString(x.Summary + "\n")
	if x.Why != "" {
		b.WriteString(x.Why + "\n")
	}
	for _, w := range x.Waiting {
		fmt.Fprintf(&b, "waits: %s %s %s, sent %d times since %s; at %s %s\n",
			w.Participant, w.Op, w.Step, w.Attempts, clock(w.Since), clock(w.NextAt), w.Next)
	}
	at := ""
	if !x.NextAt.IsZero() {
		at = "at " + clock(x.NextAt) + " "
	}
	fmt.Fprintf(&b, "next: %s%s\n", at, x.Next)
	return b.String()
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Sub(Epoch).Truncate(time.Second).String()
}
