package saga

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// The history is kept in numbers and told in words. A saga gets four rows of it, and in words it was a quarter of all
// that an order writes. In numbers it is the message HistoryRecord of schemas/proto/recourse/saga/v1/storage.proto, with
// entries in place of events, encoded straight from the decision.

// The codes of what was decided. They are stored: a code is never changed and never given to anything else; a test
// knows them all.
const (
	decidedSend     = 1
	decidedAnnounce = 2
	decidedAnswer   = 3
	// firstDeed is the code of the first of the deeds.
	firstDeed = 16
)

// deeds are what the rows of the tables and the notes of Decide say.
var deeds = [...]string{
	16: "begin",
	17: "ignore",
	18: "ignore, it is no longer current",
	19: "keep as evidence",
	20: "keep as evidence, it is of another generation",
	21: "decline",
	22: "nothing to undo",
	23: "send do",
	24: "send undo",
	25: "send again",
	26: "send again, tell an operator",
	27: "hold the effect",
	28: "hold an effect that was not asked for",
	29: "take note of the refusal",
	30: "do without it",
	31: "try again under a new effect key, tell an operator",
	32: "wait",
	33: "give up, go back",
	34: "give up, do without it",
	35: "settle by hand as done",
	36: "settle by hand as undone",
	37: "the effect is gone",
	38: "tell an operator, ask again slowly",
	39: "undo it again, tell an operator",
	40: "tell an operator",
	41: "nothing",
	42: "undo what was issued",
	43: "only forward from here",
	44: "end",
	45: "open again",
	46: "agree",
	47: "agree, undo what was issued",
	48: "remember the wish",
	49: "remember the deadline",
	50: "too late",
	51: "already ended",
	52: "send nothing until resumed",
	53: "go on",
	54: "close with what remains",
	55: "hold what was refused before, tell an operator",
	56: "tell an operator, it cannot be undone",
	57: "hold the effect until it is undone",
}

var deedCodes = func() map[string]uint64 {
	codes := make(map[string]uint64, len(deeds))
	for code, deed := range deeds {
		if code >= firstDeed {
			codes[deed] = uint64(code)
		}
	}
	return codes
}()

// saidByAction says that the action which follows from a row tells the same and more: the number of the attempt.
func saidByAction(deed string) bool {
	return strings.HasPrefix(deed, "send ") && !strings.Contains(deed, ",")
}

// AppendHistory adds an event, and what was decided about it, to the body of a row of the history.
func AppendHistory(dst []byte, d *Definition, ev *Event, decided *Decision) ([]byte, error) {
	e := encoder{b: slices.Grow(dst, 64)}
	entry := e.open(2)
	e.varint(1, uint64(ev.Kind))
	ofStep := ev.Op != 0 || ev.Kind == OperatorRetry || ev.Kind == OperatorSettle
	if ofStep {
		e.varint(2, uint64(ev.Step)+1)
		e.varint(3, uint64(ev.Op))
		e.varint(4, uint64(ev.Attempt))
	}
	who, named := usualActor(ev.Kind)
	if named && ofStep {
		who += d.steps[ev.Step].Participant
	}
	if ev.Actor != who || named && !ofStep {
		e.textAlways(5, ev.Actor)
	}
	if ev.Code == "" {
		e.text(6, ev.Detail)
	} else {
		e.text(6, strings.TrimSuffix(ev.Code+": "+ev.Detail, ": "))
	}
	if id, is := uuidOf(ev.Evidence); is {
		e.uuid(7, id)
	} else {
		e.text(8, ev.Evidence)
	}
	e.decisions(decided)
	e.varint(10, uint64(decided.Saga.State))
	if ofStep {
		e.varint(11, uint64(decided.Saga.Steps[ev.Step].State))
	}
	if !decided.Changed {
		e.varint(12, 1)
	}
	e.close(entry)
	if e.err != nil {
		return dst, fmt.Errorf("encoding the history of saga %s: %w", decided.Saga.ID, e.err)
	}
	return e.b, nil
}

func (e *encoder) decisions(decided *Decision) {
	before := len(e.b)
	at := e.open(9)
	for _, row := range decided.Trace {
		if saidByAction(row.Do) {
			continue
		}
		code := deedCodes[row.Do]
		if code == 0 { // a test proves that there is one
			e.err = fmt.Errorf("%q has no code", row.Do)
		}
		e.numbers(code, uint64(row.Step+1), uint64(row.To))
	}
	for i := range decided.Actions {
		switch a := &decided.Actions[i]; a.Kind {
		case Send:
			e.numbers(decidedSend, uint64(a.Step), uint64(a.Op), uint64(a.Attempt))
		case Announce:
			e.numbers(decidedAnnounce, uint64(a.Fact))
		case Answer:
			e.numbers(decidedAnswer, uint64(a.Verdict))
		}
	}
	if len(e.b) == at {
		e.b = e.b[:before] // nothing was decided
		return
	}
	e.close(at)
}

func (e *encoder) numbers(list ...uint64) {
	for _, n := range list {
		e.b = protowire.AppendVarint(e.b, n)
	}
}

// StepName is what the history calls a step and whom it asks.
type StepName struct{ Step, Participant string }

// StepNames are those of the definition's steps.
func StepNames(d *Definition) []StepName {
	names := make([]StepName, len(d.steps))
	for i := range d.steps {
		names[i] = StepName{Step: d.steps[i].Name, Participant: d.steps[i].Participant}
	}
	return names
}

// ReadHistory is what the body of a row tells, however old it is. at is when the row was written, names are those of
// the saga's definition.
func ReadHistory(body []byte, at time.Time, names []StepName) ([]*sagav1.HistoryEvent, error) {
	var record sagav1.HistoryRecord
	if err := proto.Unmarshal(body, &record); err != nil {
		return nil, fmt.Errorf("decoding a history: %w", err)
	}
	told := record.GetEvents()
	for _, entry := range record.GetEntries() {
		told = append(told, tell(entry, at, names))
	}
	return told, nil
}

func tell(entry *sagav1.HistoryEntry, at time.Time, names []StepName) *sagav1.HistoryEvent {
	kind := EventKind(min(entry.GetEvent(), 255))
	step := int(entry.GetStep()) - 1
	h := &sagav1.HistoryEvent{
		At: timestamppb.New(at), Event: word(entry.GetEvent(), kind.String()), Operation: entry.GetOperation(),
		Attempt: entry.GetAttempt(), Actor: entry.GetActor(), Detail: entry.GetDetail(),
		Evidence: evidenceOf(entry.GetEvidenceId(), entry.GetEvidence()), Decisions: tellDecisions(entry.GetDecisions(), names),
		SagaState: stateName(entry.GetSagaState()), EvidenceOnly: entry.GetEvidenceOnly(),
	}
	if step >= 0 {
		h.Step, h.StepState = nameOf(names, step).Step, stepStateName(entry.GetStepState())
	}
	if entry.Actor == nil {
		who, named := usualActor(kind)
		if named {
			who += nameOf(names, step).Participant
		}
		h.Actor = who
	}
	return h
}

// tellDecisions stops at a code that it does not know: how many numbers belong to it is not known either.
func tellDecisions(list []uint32, names []StepName) []string {
	var told []string
	for len(list) > 0 {
		var text string
		code, rest := list[0], list[1:]
		operands := 1
		switch {
		case code >= firstDeed:
			operands = 2
		case code == decidedSend:
			operands = 3
		}
		if len(rest) < operands || code == 0 || code > decidedAnswer && code < firstDeed {
			return append(told, word(code, ""))
		}
		switch {
		case code == decidedSend:
			text = "send " + nameOf(names, int(rest[0])).Step + " " + opName(rest[1]) + " #" + itoa(rest[2])
		case code == decidedAnnounce:
			text = "announce " + factName(rest[0])
		case code == decidedAnswer:
			text = "answer " + verdictName(rest[0])
		case rest[0] == 0:
			text = "saga " + stateName(rest[1]) + ": " + deedName(code)
		default:
			text = nameOf(names, int(rest[0])-1).Step + " " + stepStateName(rest[1]) + ": " + deedName(code)
		}
		told, list = append(told, text), rest[operands:]
	}
	return told
}

// usualActor is who brings such an event as a rule, which is not stored. If it is named, the name of the step's
// participant follows.
func usualActor(k EventKind) (who string, named bool) {
	switch {
	case k >= ReplyDone && k.reply():
		return "participant:", true
	case k == Accepted, k == CancelRequested:
		return "customer", false
	}
	return "", false
}

// A newer build may have written numbers that this one has no word for.
func word(code uint32, known string) string {
	if known == "" {
		return "unknown_" + strconv.FormatUint(uint64(code), 10)
	}
	return known
}

func stateName(code uint32) string {
	if code > uint32(Closed) {
		return word(code, "")
	}
	return State(code).String()
}

func stepStateName(code uint32) string {
	if code > uint32(Settled) {
		return word(code, "")
	}
	return StepState(code).String()
}

func opName(code uint32) string {
	if code > uint32(OpUndo) {
		return word(code, "")
	}
	return Op(code).String()
}

func factName(code uint32) string {
	if code > uint32(FactAttentionCleared) {
		return word(code, "")
	}
	return Fact(code).String()
}

func verdictName(code uint32) string {
	if code > uint32(NotPossible) {
		return word(code, "")
	}
	return Verdict(code).String()
}

func deedName(code uint32) string {
	if code >= uint32(len(deeds)) {
		return word(code, "")
	}
	return deeds[code]
}

// nameOf makes names up for a definition that nobody remembers.
func nameOf(names []StepName, step int) StepName {
	if step < 0 || step >= len(names) {
		return StepName{Step: "step_" + strconv.Itoa(step+1), Participant: "unknown"}
	}
	return names[step]
}

// uuidOf reads a UUID in the one spelling that comes back from its bytes.
func uuidOf(s string) (uuid.UUID, bool) {
	if len(s) != 36 || strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// evidenceOf is the evidence in either of its forms.
func evidenceOf(id []byte, other string) string {
	if len(id) == len(uuid.UUID{}) {
		return uuid.UUID(id).String()
	}
	return other
}
