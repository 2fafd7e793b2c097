package coordinator

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/message"
)

// Source names the coordinator in the messages that it writes.
const Source = "coordinator"

// follow takes over what was decided about one event: the new state, the commands and facts, and the history. Commands
// are built before the commit, so that one which cannot be built is found while its event can still be parked. An answer
// goes into verdict.
func (e *engine) follow(
	t *turn, s *subject, ev saga.Event, decided saga.Decision, verdict *saga.Verdict,
) error {
	s.Saga = decided.Saga
	s.changed = s.changed || decided.Changed
	for _, a := range decided.Actions {
		switch a.Kind {
		case saga.Send:
			cause := ""
			if isReply(ev.Kind) {
				cause = ev.Evidence // a message id; an operator's evidence is any text
			}
			record, err := e.command(t, s, a, cause)
			if err != nil {
				return err
			}
			t.commands = append(t.commands, record)
		case saga.Announce:
			fact, err := t.fact(s, a)
			if err != nil {
				return err
			}
			t.facts = append(t.facts, fact)
		case saga.Answer:
			*verdict = a.Verdict
		}
	}
	if decided.Changed || worthKeeping(ev, decided) {
		var err error
		if s.history, err = saga.AppendHistory(s.history, s.d, &ev, &decided); err != nil {
			return err
		}
	}
	return nil
}

// isReply says that a participant spoke.
func isReply(k saga.EventKind) bool { return k >= saga.ReplyDone && k <= saga.UndoDoubted }

func (e *engine) command(t *turn, s *subject, a saga.Action, cause string) (*kgo.Record, error) {
	if s.document == nil {
		return nil, fmt.Errorf("saga %s: its order document is missing", s.ID)
	}
	name, value, err := t.body(func(text []byte) (string, []byte, error) {
		return order.AppendCommand(text, s.d, &s.Saga, s.document, a, t.now)
	})
	if err != nil {
		return nil, err
	}
	topic, id := e.commandTopics[s.d.Steps()[a.Step].Participant], s.document.GetOrderId()
	record, err := message.Encoded(topic, id, name, value, message.Event{
		Source: Source, Subject: id, CorrelationID: s.name(), CausationID: cause, Time: t.now,
	})
	if err != nil {
		return nil, fmt.Errorf("saga %s: %w", s.ID, err)
	}
	return record, nil
}

// worthKeeping says whether an event that changed nothing goes into the history. Evidence and answers do; a harmless
// repeat and a timer that came too late do not.
func worthKeeping(ev saga.Event, decided saga.Decision) bool {
	if ev.Kind == saga.TimerFired || ev.Kind == saga.DeadlinePassed {
		return false
	}
	for _, row := range decided.Trace {
		if !strings.HasPrefix(row.Do, "ignore") {
			return true
		}
	}
	return false
}
