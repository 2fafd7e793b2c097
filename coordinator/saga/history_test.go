package saga_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/saga"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// FuzzHistory lets sagas meet arbitrary events: what is stored of each in numbers is read in the words that earlier builds
// stored, and what is stored is the message, byte for byte.
func FuzzHistory(f *testing.F) {
	d := fuzzed()
	id := "0198f0a0-0000-7000-8000-000000000000"
	for i := range 40 { // events of all kinds for steps of all kinds
		var all []byte
		for n := range 50 {
			n += i * 50
			all = append(all, byte(n%43), byte(n%11), byte(n%7))
		}
		f.Add(all, "code", "detail", id, "operator:ada")
		f.Add(all, "", "", strings.ToUpper(id), "")
		f.Add(all, "code", "", id[1:]+"-", "participant:p")
	}
	f.Add([]byte{20, 0, 0, 1, 0, 3, 21, 0, 3}, "", ": ", "", "customer")
	f.Add([]byte{20, 0, 0, 1, 0, 3, 21, 0, 3}, "", "\xff", "\xff", "\xff")
	f.Fuzz(func(t *testing.T, script []byte, code, detail, evidence, actor string) {
		now := time.Unix(1_780_000_000, 1000).UTC()
		s := saga.New(d, uuid.MustParse(id), uuid.Nil)
		s = saga.Decide(d, s, saga.Event{Kind: saga.Accepted}, now).Saga
		for script = script[:min(len(script), 300)]; len(script) >= 3; script = script[3:] {
			ev := saga.Event{
				Kind: saga.EventKind(script[0] % 40), Step: int(script[1]) % len(d.Steps()), Generation: 1 + uint32(script[2])/128,
				Op: saga.Op(script[2] & 3 % 3), Attempt: uint32(script[2]) >> 2 & 7, Seq: uint32(script[1]), Actor: actor,
				Code: code, Detail: detail, Evidence: evidence, At: now.Add(time.Duration(script[1]) * time.Second),
			}
			if script[0]&64 > 0 {
				ev.Actor = "participant:" + d.Steps()[ev.Step].Participant
			}
			if ev.Kind.String() == "" || ev.Kind >= saga.StepWasRefused || ev.Kind == saga.StepIssue || ev.Kind == saga.StepUndo {
				continue // nothing that comes from outside
			}
			for _, due := range append(s.DueEvents(now), ev) {
				decided := saga.Decide(d, s, due, now)
				same(t, d, due, &decided, now)
				s = decided.Saga
			}
			now = now.Add(time.Duration(script[2]) * time.Second)
		}
	})
}

func same(t *testing.T, d *saga.Definition, ev saga.Event, decided *saga.Decision, now time.Time) {
	t.Helper()
	want := &sagav1.HistoryRecord{Events: []*sagav1.HistoryEvent{inWords(d, ev, decided, now)}}
	words, err := proto.Marshal(want)
	numbers, refused := saga.AppendHistory(nil, d, &ev, decided)
	require.Equal(t, err == nil, refused == nil, "what is no text is refused in either form")
	if err != nil {
		require.ErrorContains(t, refused, "encoding the history of saga")
		return
	}
	old, err := saga.ReadHistory(words, now.Add(time.Hour), nil)
	require.NoError(t, err)
	read, err := saga.ReadHistory(numbers, now, saga.StepNames(d))
	require.NoError(t, err)
	require.Empty(t, cmpProto(old, want.GetEvents()))
	require.Empty(t, cmpProto(read, want.GetEvents()))

	var message sagav1.HistoryRecord
	require.NoError(t, proto.Unmarshal(numbers, &message))
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(&message)
	require.NoError(t, err)
	require.Equal(t, canonical, numbers)
}

// cmpProto is empty if the events are the same.
func cmpProto(got, want []*sagav1.HistoryEvent) string {
	if a, b := (&sagav1.HistoryRecord{Events: got}), (&sagav1.HistoryRecord{Events: want}); !proto.Equal(a, b) {
		return "got " + a.String() + "\nwant " + b.String()
	}
	return ""
}

// inWords is what builds stored before there were numbers.
func inWords(d *saga.Definition, ev saga.Event, decided *saga.Decision, now time.Time) *sagav1.HistoryEvent {
	h := &sagav1.HistoryEvent{
		At: timestamppb.New(now), Event: ev.Kind.String(), Actor: ev.Actor, Evidence: ev.Evidence,
		Detail: ev.Detail, SagaState: decided.Saga.State.String(), EvidenceOnly: !decided.Changed,
	}
	if ev.Code != "" {
		h.Detail = strings.TrimSuffix(ev.Code+": "+ev.Detail, ": ")
	}
	if ev.Op != 0 || ev.Kind == saga.OperatorRetry || ev.Kind == saga.OperatorSettle {
		h.Step, h.Attempt = d.Steps()[ev.Step].Name, ev.Attempt
		h.Operation = sagav1.Operation(ev.Op)
		h.StepState = decided.Saga.Steps[ev.Step].State.String()
	}
	for _, row := range decided.Trace {
		if strings.HasPrefix(row.Do, "send ") && !strings.Contains(row.Do, ",") {
			continue // the actions below say it with the attempt
		}
		if row.Step < 0 {
			h.Decisions = append(h.Decisions, "saga "+saga.State(row.To).String()+": "+row.Do)
			continue
		}
		h.Decisions = append(h.Decisions, d.Steps()[row.Step].Name+" "+saga.StepState(row.To).String()+": "+row.Do)
	}
	for _, a := range decided.Actions {
		switch a.Kind {
		case saga.Send:
			h.Decisions = append(h.Decisions,
				"send "+d.Steps()[a.Step].Name+" "+a.Op.String()+" #"+strconv.Itoa(int(a.Attempt)))
		case saga.Announce:
			h.Decisions = append(h.Decisions, "announce "+a.Fact.String())
		case saga.Answer:
			h.Decisions = append(h.Decisions, "answer "+a.Verdict.String())
		}
	}
	return h
}

// FuzzHistoryBytes reads arbitrary bytes as a row of the history: it is told or refused with a reason, also where a newer
// build wrote numbers that this one has no words for.
func FuzzHistoryBytes(f *testing.F) {
	d := fuzzed()
	for _, entry := range []*sagav1.HistoryEntry{
		{},
		{Event: 1, Step: 1, SagaState: 1, StepState: 5, Decisions: []uint32{27, 1, 5, 1, 1, 1, 1, 2, 1, 3, 1}},
		{Event: 999, Step: 999, SagaState: 99, StepState: 99, Decisions: []uint32{200, 200, 200, 1, 9, 9, 9, 2, 99, 3, 99, 9, 1}},
		{Event: 1, Step: 1 << 31, Decisions: []uint32{1 << 31, 1 << 31, 1 << 31}, EvidenceId: []byte{1}},
		{Event: 1, Decisions: []uint32{27, 1}},
	} {
		body, err := proto.Marshal(&sagav1.HistoryRecord{Entries: []*sagav1.HistoryEntry{entry}})
		require.NoError(f, err)
		f.Add(body)
	}
	words, err := proto.Marshal(&sagav1.HistoryRecord{Events: []*sagav1.HistoryEvent{{Event: "reply_done"}}})
	require.NoError(f, err)
	f.Add(words)
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, names := range [][]saga.StepName{saga.StepNames(d), nil} {
			told, err := saga.ReadHistory(body, time.Unix(1_780_000_000, 0), names)
			if err != nil {
				require.ErrorContains(t, err, "decoding a history")
				continue
			}
			_, err = proto.Marshal(&sagav1.HistoryRecord{Events: told})
			require.NoError(t, err, "what is told is text")
		}
	})
}
