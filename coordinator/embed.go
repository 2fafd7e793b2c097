package coordinator

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"recourse.dev/coordinator/order"
	"recourse.dev/coordinator/saga"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
)

// What a program that embeds a coordinator has beside its API: the benchmarks do.

// Place takes an order in as POST /v1/orders does, without HTTP and admission: the order is validated, shares a
// transaction with others that come at the same time, and belongs to its key for as long as keys are kept. It returns
// after the commit. The document is the coordinator's from then on and must not be changed.
func (s *Service) Place(ctx context.Context, key string, o *orderv1.Order) (uuid.UUID, error) {
	o.OrderId, o.PlacedAt = "", nil
	content, err := o.MarshalVT() // always the same bytes: there is no map in an order
	if err != nil {
		return uuid.Nil, fmt.Errorf("hashing an order: %w", err)
	}
	id, err := s.engine.names.next(s.engine.clock.Now())
	if err != nil {
		return uuid.Nil, err
	}
	o.OrderId = id.String()
	if err := order.Validate(o); err != nil {
		return uuid.Nil, err
	}
	sum := sha256.Sum256(content)
	a, err := s.intake.submit(ctx, submission{
		key:   requestKey{keyName: keyName{scope: scopeOrders, key: key}, hash: sum[:]},
		order: o, id: id, span: trace.SpanContextFromContext(ctx),
	})
	return a.id, err
}

// End is a saga that came to its end.
type End struct {
	Order     uuid.UUID
	Completed bool
}

// OnEnd lets hear be told of the sagas that this coordinator ends, right after each commit. It is called before Run.
// hear is called by several goroutines and holds the write path up for as long as it takes.
func (s *Service) OnEnd(hear func([]End)) {
	s.engine.committed = append(s.engine.committed, func(t *turn) {
		var ends []End
		for _, one := range t.sagas {
			if one != nil && one.ends() {
				ends = append(ends, End{Order: one.OrderID, Completed: one.State == saga.Completed})
			}
		}
		if len(ends) > 0 {
			hear(ends)
		}
	})
}
