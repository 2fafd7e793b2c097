package coordinator

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	"recourse.dev/pkg/message"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// Source names the coordinator in the messages that it writes.
const Source = "coordinator"

// sideEffects are what the events of one item ask for.
type sideEffects struct {
	commands []*kgo.Record
	facts    []*orderv1.OutboxEvent
	verdict  saga.Verdict
}

// follow takes over what was decided about one event: the new state, the commands and facts, and the history. Commands
// are built before the commit, so that one which cannot be built is found while its event can still be parked.
func (e *engine) follow(s *subject, ev saga.Event, decided saga.Decision, now time.Time, out *sideEffects) error {
	s.Saga = decided.Saga
	s.changed = s.changed || decided.Changed
	for _, a := range decided.Actions {
		switch a.Kind {
		case saga.Send:
			cause := ""
			if isReply(ev.Kind) {
				cause = ev.Evidence // a message id; an operator's evidence is any text
			}
			record, err := e.command(s, a, cause, now)
			if err != nil {
				return err
			}
			out.commands = append(out.commands, record)
		case saga.Announce:
			fact, err := factEvent(s.d, &s.Saga, s.document, a, now)
			if err != nil {
				return err
			}
			out.facts = append(out.facts, fact)
		case saga.Answer:
			out.verdict = a.Verdict
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

func (e *engine) command(s *subject, a saga.Action, cause string, now time.Time) (*kgo.Record, error) {
	if s.document == nil {
		return nil, fmt.Errorf("saga %s: its order document is missing", s.ID)
	}
	body, err := order.Command(s.d, &s.Saga, s.document, a, now)
	if err != nil {
		return nil, err
	}
	topic := e.topics.CommandTopic(s.d.Steps()[a.Step].Participant)
	id := s.document.GetOrderId()
	record, err := message.Encode(topic, id, message.Event{
		Source: Source, Subject: id, CorrelationID: s.ID.String(), CausationID: cause, Time: now, Data: body,
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

// factSpace is the namespace of the ids of domain events.
var factSpace = uuid.MustParse("6f0c3c8e-41b5-5d0f-9a4e-2f6c1c1d7a55")

// factEvent is a public fact as the outbox keeps it. Its id depends on the fact alone: it is the same however often it
// is published.
func factEvent(
	d *saga.Definition, s *saga.Saga, o *orderv1.Order, a saga.Action, now time.Time,
) (*orderv1.OutboxEvent, error) {
	body := factBody(d, s, o, a, now)
	if body == nil {
		return nil, fmt.Errorf("saga %s: fact %q has no event", s.ID, a.Fact)
	}
	encoded, err := proto.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding the event of %s: %w", s.ID, err)
	}
	id := s.ID.String()
	name := fmt.Appendf(nil, "%s/%d/%s/%d", id, s.Revision, a.Fact, a.Attention)
	return &orderv1.OutboxEvent{
		Id:   uuid.NewSHA1(factSpace, name).String(),
		Type: string(body.ProtoReflect().Descriptor().FullName()), OrderId: o.GetOrderId(), SagaId: id,
		At: timestamppb.New(now), Body: encoded,
	}, nil
}

func factBody(d *saga.Definition, s *saga.Saga, o *orderv1.Order, a saga.Action, now time.Time) proto.Message {
	id, revision, at := o.GetOrderId(), uint64(max(0, s.Revision)), timestamppb.New(now)
	switch a.Fact {
	case saga.FactAccepted:
		return &orderv1.OrderAccepted{
			OrderId: id, Revision: revision, At: at, Shop: o.GetShop(), CustomerId: o.GetCustomerId(),
			Reference: o.GetReference(), Lines: o.GetLines(),
			Total: &orderv1.Money{Minor: o.GetTotalMinor(), Currency: o.GetCurrency()},
		}
	case saga.FactConfirmed:
		return &orderv1.OrderConfirmed{OrderId: id, Revision: revision, At: at}
	case saga.FactCompleted:
		return &orderv1.OrderCompleted{OrderId: id, Revision: revision, At: at, Handles: handlesOf(s)}
	case saga.FactCancelling:
		return &orderv1.OrderCancelling{
			OrderId: id, Revision: revision, At: at, Cause: s.Cause.String(), Code: causeCode(s), Detail: s.CauseDetail,
		}
	case saga.FactCancelled:
		return &orderv1.OrderCancelled{
			OrderId: id, Revision: revision, At: at, Cause: s.Cause.String(), Code: causeCode(s), Detail: s.CauseDetail,
		}
	case saga.FactClosed:
		return &orderv1.OrderClosed{OrderId: id, Revision: revision, At: at, Detail: s.CauseDetail}
	case saga.FactAttentionRaised:
		return &orderv1.OrderAttentionRaised{
			OrderId: id, Revision: revision, At: at, Kind: s.Attention.Kind.String(),
			Step: d.Steps()[s.Attention.Step].Name, Detail: s.Attention.Detail,
		}
	case saga.FactAttentionCleared:
		return &orderv1.OrderAttentionCleared{OrderId: id, Revision: revision, At: at, Kind: a.Attention.String()}
	}
	return nil
}

// causeCode is the stable code of why an order was undone: the refusal's own, or that of the cause.
func causeCode(s *saga.Saga) string {
	if s.Cause == saga.CauseRefused {
		return s.CauseDetail
	}
	return s.Cause.String()
}

// handlesOf gathers what the steps brought back.
func handlesOf(s *saga.Saga) map[string]string {
	all := make(map[string]string)
	for i := range s.Steps {
		for name, value := range s.Steps[i].Handles {
			all[name] = value
		}
	}
	return all
}
