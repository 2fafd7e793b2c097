package coordinator

import (
	"crypto/sha1" //nolint:gosec // names events (RFC 9562, version 5) and protects nothing
	"fmt"
	"maps"
	"strconv"

	"github.com/google/uuid"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// fact is a public fact as the outbox keeps it.
func (t *turn) fact(s *subject, a saga.Action) (*orderv1.OutboxEvent, error) {
	event := t.factEvent(s, a)
	if event == nil {
		return nil, fmt.Errorf("saga %s: fact %q has no event", s.ID, a.Fact)
	}
	name, body, err := t.body(func(text []byte) (string, []byte, error) {
		text, err := order.AppendMessage(text, event)
		return string(event.ProtoReflect().Descriptor().FullName()), text, err
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the event of %s: %w", s.ID, err)
	}
	return &orderv1.OutboxEvent{
		Id: factID(&s.Saga, a).String(), Type: name, OrderId: s.document.GetOrderId(), SagaId: s.name(), At: t.at, Body: body,
	}, nil
}

// factSpace is the namespace of the ids of domain events.
var factSpace = uuid.MustParse("6f0c3c8e-41b5-5d0f-9a4e-2f6c1c1d7a55")

// factID depends on the fact alone: it is the same however often the fact is decided about and published. It is the
// UUIDv5 that uuid.NewSHA1 makes of "saga/revision/fact/attention", without memory of its own.
func factID(s *saga.Saga, a saga.Action) uuid.UUID {
	var room [128]byte
	name := append(room[:0], factSpace[:]...)
	name = append(name, s.ID.String()...)
	name = strconv.AppendInt(append(name, '/'), s.Revision, 10)
	name = append(append(name, '/'), a.Fact.String()...)
	name = strconv.AppendUint(append(name, '/'), uint64(a.Attention), 10)
	sum := sha1.Sum(name) //nolint:gosec // see above
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 5<<4 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return id
}

// factEvent is what other systems are told; nil if this build does not know the fact.
func (t *turn) factEvent(s *subject, a saga.Action) order.Message {
	o, at := s.document, t.at
	id, revision := o.GetOrderId(), uint64(max(0, s.Revision))
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
		return &orderv1.OrderCompleted{OrderId: id, Revision: revision, At: at, Handles: handlesOf(&s.Saga)}
	case saga.FactCancelling:
		return &orderv1.OrderCancelling{
			OrderId: id, Revision: revision, At: at, Cause: s.Cause.String(), Code: causeCode(&s.Saga), Detail: s.CauseDetail,
		}
	case saga.FactCancelled:
		return &orderv1.OrderCancelled{
			OrderId: id, Revision: revision, At: at, Cause: s.Cause.String(), Code: causeCode(&s.Saga), Detail: s.CauseDetail,
		}
	case saga.FactClosed:
		return &orderv1.OrderClosed{OrderId: id, Revision: revision, At: at, Detail: s.CauseDetail}
	case saga.FactAttentionRaised:
		return &orderv1.OrderAttentionRaised{
			OrderId: id, Revision: revision, At: at, Kind: s.Attention.Kind.String(),
			Step: s.d.Steps()[s.Attention.Step].Name, Detail: s.Attention.Detail,
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
	var all map[string]string
	for i := range s.Steps {
		if all == nil && len(s.Steps[i].Handles) > 0 {
			all = make(map[string]string)
		}
		maps.Copy(all, s.Steps[i].Handles)
	}
	return all
}
