package saga_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"recourse.dev/coordinator/saga"
)

// TestScenarios plays the conversations of testdata: command, ----, everything
// that follows. Accept a new behaviour with `go test ./saga -rewrite`, and read
// the difference as the change of behaviour that it is.
//
//	define            one stage a line, steps of a stage separated by |, each:
//	                  NAME KIND PARTICIPANT [outside] [optional] [consumes=STEP]
//	accept            the order is accepted at 00:00
//	reply STEP KIND   done, refused, retry, in_doubt, fenced, undone, undo_refused, undo_retry, undo_in_doubt
//	                  [seq=N] [gen=N] [code=C] [after=10s]
//	tick              the clock goes to the next timer, which fires  [to=5m]
//	cancel, undo, pause, resume, close, retry STEP, settle STEP
//	show              ledger, claims and explanation
func TestScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string { return s.run(td) })
	})
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type script struct {
	t    *testing.T
	def  *saga.Definition
	saga saga.Saga
	now  time.Time
	seq  uint32
}

func (s *script) run(td *datadriven.TestData) string {
	name := func() string { return td.CmdArgs[0].Key }
	switch td.Cmd {
	case "define":
		return s.define(td.Input)
	case "accept":
		return s.apply(saga.Event{Kind: saga.Accepted})
	case "reply":
		return s.reply(td)
	case "tick":
		return s.tick(td)
	case "cancel":
		return s.apply(saga.Event{Kind: saga.CancelRequested, Detail: "asked by the customer"})
	case "undo":
		return s.apply(saga.Event{Kind: saga.OperatorUndo, Detail: "asked by ann"})
	case "pause":
		return s.apply(saga.Event{Kind: saga.OperatorPause})
	case "resume":
		return s.apply(saga.Event{Kind: saga.OperatorResume})
	case "close":
		return s.apply(saga.Event{Kind: saga.OperatorClose, Detail: "closed by ann"})
	case "retry":
		return s.apply(saga.Event{Kind: saga.OperatorRetry, Step: s.index(name())})
	case "settle":
		return s.apply(saga.Event{Kind: saga.OperatorSettle, Step: s.index(name()), Detail: "seen by ann"})
	case "show":
		return s.show()
	}
	td.Fatalf(s.t, "unknown command %q", td.Cmd)
	return ""
}

func (s *script) define(input string) string {
	var stages []saga.Stage
	for line := range strings.SplitSeq(strings.TrimSpace(input), "\n") {
		var stage saga.Stage
		for part := range strings.SplitSeq(line, "|") {
			f := strings.Fields(part)
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
				st.Outside = st.Outside || word == "outside"
				st.Optional = st.Optional || word == "optional"
				if c, ok := strings.CutPrefix(word, "consumes="); ok {
					st.Consumes = c
				}
			}
			stage = append(stage, st)
		}
		stages = append(stages, stage)
	}
	d, err := saga.Define("test", 1, 10*time.Minute, stages...)
	if err != nil {
		return err.Error()
	}
	s.def, s.now = d, epoch
	s.saga = saga.New(d, uuid.MustParse("00000000-0000-7000-8000-000000000001"), uuid.Nil)
	return d.Hash().String()
}

func (s *script) index(name string) int {
	i, ok := s.def.Index(name)
	require.True(s.t, ok, "no step %q", name)
	return i
}

var replies = map[string]struct {
	kind saga.EventKind
	op   saga.Op
}{
	"done": {saga.ReplyDone, saga.OpDo}, "refused": {saga.ReplyRefused, saga.OpDo},
	"retry": {saga.ReplyRetry, saga.OpDo}, "in_doubt": {saga.ReplyInDoubt, saga.OpDo},
	"fenced": {saga.ReplyFenced, saga.OpDo}, "undone": {saga.UndoDone, saga.OpUndo},
	"undo_refused": {saga.UndoRefused, saga.OpUndo}, "undo_retry": {saga.UndoRetry, saga.OpUndo},
	"undo_in_doubt": {saga.UndoDoubted, saga.OpUndo},
}

func (s *script) reply(td *datadriven.TestData) string {
	step, what := td.CmdArgs[0].Key, td.CmdArgs[1].Key
	r, ok := replies[what]
	require.True(s.t, ok, "no reply %q", what)
	i := s.index(step)
	s.seq++
	ev := saga.Event{
		Kind: r.kind, Step: i, Op: r.op, Generation: s.saga.Steps[i].Generation, Seq: s.seq,
		Actor: "participant:" + s.def.Steps()[i].Participant, Evidence: "msg-" + strconv.Itoa(int(s.seq)),
	}
	if r.kind == saga.ReplyDone {
		ev.Effects = []saga.Effect{{Kind: step, Amount: 1, Unit: "unit", Handle: step + "-1"}}
	}
	for _, arg := range td.CmdArgs[2:] {
		switch arg.Key {
		case "seq":
			n, err := strconv.Atoi(arg.Vals[0])
			require.NoError(s.t, err)
			ev.Seq = uint32(n)
		case "gen":
			n, err := strconv.Atoi(arg.Vals[0])
			require.NoError(s.t, err)
			ev.Generation = uint32(n)
		case "code":
			ev.Code = arg.Vals[0]
		case "after":
			d, err := time.ParseDuration(arg.Vals[0])
			require.NoError(s.t, err)
			ev.At = s.now.Add(d)
		}
	}
	return s.apply(ev)
}

func (s *script) tick(td *datadriven.TestData) string {
	if td.HasArg("to") {
		var to string
		td.ScanArgs(s.t, "to", &to)
		d, err := time.ParseDuration(to)
		require.NoError(s.t, err)
		s.now = epoch.Add(d)
	} else if due := s.saga.NextDue(); !due.IsZero() {
		s.now = due
	}
	var b strings.Builder
	fmt.Fprintf(&b, "at %s\n", clock(s.now))
	for _, ev := range s.saga.DueEvents(s.now) {
		b.WriteString(s.apply(ev))
	}
	return b.String()
}

// apply prints the rows that were taken, what is sent and said, and where the saga stands.
func (s *script) apply(ev saga.Event) string {
	before := s.saga.Revision
	out := saga.Decide(s.def, s.saga, ev, s.now)
	s.saga = out.Saga
	var b strings.Builder
	for _, tr := range out.Trace {
		b.WriteString(saga.Describe(s.def, tr) + "\n")
	}
	for _, a := range out.Actions {
		b.WriteString("=> " + saga.DescribeAction(s.def, a) + "\n")
	}
	if !out.Changed {
		require.Equal(s.t, before, s.saga.Revision)
		return b.String() + "unchanged\n"
	}
	fmt.Fprintf(&b, "%s (%s):", s.saga.State, saga.StatusOf(s.def, &s.saga))
	for i, st := range s.saga.Steps {
		fmt.Fprintf(&b, " %s=%s", s.def.Steps()[i].Name, st.State)
	}
	if s.saga.Attention.Kind != saga.AttentionNone {
		fmt.Fprintf(&b, " attention=%s", s.saga.Attention.Kind)
	}
	return b.String() + "\n"
}

func (s *script) show() string {
	var b strings.Builder
	for _, e := range saga.Ledger(s.def, &s.saga) {
		fmt.Fprintf(&b, "%s: %s %d %s %s %s\n", e.Holding, e.Kind, e.Amount, e.Unit, e.Handle, e.Evidence)
	}
	for _, c := range saga.Claims(s.def, &s.saga) {
		fmt.Fprintf(&b, "claim %s since %s by %s\n", c.Name, clock(c.Since), c.Evidence)
	}
	x := saga.Explain(s.def, &s.saga)
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
	return t.Sub(epoch).Truncate(time.Second).String()
}
