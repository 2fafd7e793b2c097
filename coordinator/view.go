package coordinator

import (
	"strings"
	"time"

	"recourse.dev/coordinator/saga"
	coordinatorapi "recourse.dev/schemas/gen/api/coordinator"
	orderv1 "recourse.dev/schemas/gen/recourse/order/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// The conversions from what is stored to what the API says.

// opt is nil for a zero value, so that it is left out of the answer.
func opt[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func optTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func links(id string) coordinatorapi.Links {
	return coordinatorapi.Links{
		Self: "/v1/orders/" + id, Cancel: "/v1/orders/" + id + "/cancel", Events: "/v1/orders/" + id + "/events",
		Saga: "/v1/sagas/" + id, History: "/v1/sagas/" + id + "/history",
	}
}

// orderView is an order in full. d is nil if this build does not know the definition; then only columns are told.
func orderView(d *saga.Definition, s *stored, o *orderv1.Order) coordinatorapi.Order {
	v := coordinatorapi.Order{
		ID: s.OrderID, SagaID: s.ID, Status: coordinatorapi.OrderStatus(s.status.String()), Revision: s.Revision,
		Paused: s.Paused, Cause: causeView(s.Cause, s.CauseDetail), Attention: attentionView(d, &s.Saga),
		Shop: o.GetShop(), CustomerID: o.GetCustomerId(), Reference: o.GetReference(), Currency: o.GetCurrency(),
		ShippingMinor: o.GetShippingMinor(), TaxMinor: o.GetTaxMinor(), DiscountMinor: o.GetDiscountMinor(),
		TotalMinor: o.GetTotalMinor(), ShipTo: addressView(o.GetShipTo()), BillTo: addressView(o.GetBillTo()),
		Locale: o.GetLocale(), CreatedAt: s.CreatedAt, Deadline: optTime(s.Deadline), EndedAt: optTime(s.EndedAt),
		Claims: []coordinatorapi.Claim{}, Effects: effectsView(d, &s.Saga), Explanation: explanationView(d, s),
		Links: links(s.OrderID.String()), Lines: []coordinatorapi.OrderLine{},
	}
	for _, l := range o.GetLines() {
		v.Lines = append(v.Lines, coordinatorapi.OrderLine{
			LineID: opt(l.GetLineId()), Sku: l.GetSku(), Quantity: l.GetQuantity(), UnitPriceMinor: l.GetUnitPriceMinor(),
			Name: opt(l.GetName()),
		})
	}
	if handles := handlesOf(&s.Saga); len(handles) > 0 {
		v.Handles = &handles
	}
	if d == nil {
		return v
	}
	for _, c := range saga.Claims(d, &s.Saga) {
		v.Claims = append(v.Claims, coordinatorapi.Claim{Name: c.Name, Step: c.Step, Since: c.Since, Evidence: c.Evidence})
	}
	return v
}

func addressView(a *orderv1.Address) coordinatorapi.Address {
	return coordinatorapi.Address{
		Name: a.GetName(), Lines: a.GetLines(), City: a.GetCity(), Region: opt(a.GetRegion()),
		PostalCode: opt(a.GetPostalCode()), Country: a.GetCountry(), Phone: opt(a.GetPhone()), Email: opt(a.GetEmail()),
	}
}

func causeView(c saga.Cause, detail string) *coordinatorapi.Cause {
	if c == saga.CauseNone {
		return nil
	}
	return &coordinatorapi.Cause{Kind: coordinatorapi.CauseKind(c.String()), Detail: opt(detail)}
}

func attentionView(d *saga.Definition, s *saga.Saga) *coordinatorapi.Attention {
	a := s.Attention
	if a.Kind == saga.AttentionNone {
		return nil
	}
	v := &coordinatorapi.Attention{Kind: coordinatorapi.AttentionKind(a.Kind.String()), Since: a.Since, Detail: a.Detail}
	if d != nil {
		v.Step = d.Steps()[a.Step].Name
	}
	return v
}

func effectsView(d *saga.Definition, s *saga.Saga) []coordinatorapi.Effect {
	list := []coordinatorapi.Effect{}
	if d == nil {
		return list
	}
	for _, e := range saga.Ledger(d, s) {
		list = append(list, effectView(e))
	}
	return list
}

func effectView(e saga.LedgerEntry) coordinatorapi.Effect {
	return coordinatorapi.Effect{
		Step: e.Step, Participant: e.Participant, Kind: e.Kind, Amount: opt(e.Amount), Unit: opt(e.Unit),
		Handle: opt(e.Handle), State: coordinatorapi.EffectState(e.Holding), Evidence: opt(e.Evidence),
	}
}

func explanationView(d *saga.Definition, s *stored) coordinatorapi.Explanation {
	v := coordinatorapi.Explanation{Waiting: []coordinatorapi.Wait{}}
	if d == nil {
		v.Summary = "The saga runs definition " + s.Definition.String() +
			", which this build does not know; it is left to a build that does."
		return v
	}
	x := saga.Explain(d, &s.Saga)
	v.Summary, v.Why, v.Next, v.NextAt = x.Summary, opt(x.Why), opt(x.Next), optTime(x.NextAt)
	for _, w := range x.Waiting {
		v.Waiting = append(v.Waiting, coordinatorapi.Wait{
			Step: w.Step, Participant: w.Participant, Operation: coordinatorapi.WaitOperation(w.Op.String()),
			State: w.State.String(), Since: w.Since, Attempts: int64(w.Attempts), Next: w.Next, NextAt: optTime(w.NextAt),
			Detail: opt(w.Detail),
		})
	}
	return v
}

func summaryView(s *summary) coordinatorapi.OrderSummary {
	v := coordinatorapi.OrderSummary{
		ID: s.orderID, SagaID: s.sagaID, Status: coordinatorapi.OrderStatus(s.status.String()), Paused: s.paused,
		Shop: s.shop, CustomerID: s.customerID, Reference: s.reference, Currency: s.currency, TotalMinor: s.totalMinor,
		CreatedAt: s.createdAt.UTC(),
	}
	if s.endedAt != nil {
		v.EndedAt = optTime(*s.endedAt)
	}
	if s.attention != saga.AttentionNone {
		v.Attention = opt(coordinatorapi.OrderSummaryAttention(s.attention.String()))
	}
	return v
}

func sagaView(d *saga.Definition, s *stored) coordinatorapi.Saga {
	v := coordinatorapi.Saga{
		ID: s.ID, OrderID: s.OrderID, State: coordinatorapi.SagaState(s.State.String()),
		Status: coordinatorapi.OrderStatus(s.status.String()), Revision: s.Revision, Partition: int32(s.partition),
		Paused: s.Paused, Since: optTime(s.Since), CreatedAt: s.CreatedAt, EndedAt: optTime(s.EndedAt),
		Deadline: optTime(s.Deadline), NextDue: optTime(s.NextDue()), Attention: attentionView(d, &s.Saga),
		Cause: causeView(s.Cause, s.CauseDetail), Wish: causeView(s.Wish, s.WishDetail),
		Steps: []coordinatorapi.Step{}, Effects: effectsView(d, &s.Saga), Explanation: explanationView(d, s),
		Definition: coordinatorapi.DefinitionRef{Hash: s.Definition.String(), Known: d != nil},
	}
	if d == nil {
		return v
	}
	v.Definition.Name, v.Definition.Version = opt(d.Name()), opt(d.Version())
	for i, spec := range d.Steps() {
		v.Steps = append(v.Steps, stepView(s, spec, &s.Steps[i]))
	}
	return v
}

func stepView(s *stored, spec saga.Step, st *saga.StepStatus) coordinatorapi.Step {
	v := coordinatorapi.Step{
		Name: spec.Name, Participant: spec.Participant, Kind: coordinatorapi.StepKind(spec.Kind.String()),
		State: coordinatorapi.StepState(st.State.String()), Generation: int64(st.Generation), Attempt: int64(st.Attempt),
		EffectSeq: opt(int64(st.Seq)), Since: optTime(st.Since), IssuedAt: optTime(st.IssuedAt), Due: optTime(st.Due),
		Code: opt(st.Code), Detail: opt(st.Detail), Evidence: opt(st.Evidence),
	}
	if st.EverIssued {
		v.EffectKey = opt(saga.EffectKey(s.ID, spec.Name, st.Generation))
	}
	if len(st.Handles) > 0 {
		v.Handles = &st.Handles
	}
	return v
}

func entryView(e *entry) coordinatorapi.HistoryEntry {
	v := coordinatorapi.HistoryEntry{
		Seq: e.seq, Revision: e.revision, At: e.at.UTC(), Events: []coordinatorapi.HistoryEvent{},
	}
	for _, h := range e.events {
		event := coordinatorapi.HistoryEvent{
			At: h.GetAt().AsTime(), Event: h.GetEvent(), Step: opt(h.GetStep()), Attempt: opt(int64(h.GetAttempt())),
			Actor: h.GetActor(), Detail: opt(h.GetDetail()), Evidence: opt(h.GetEvidence()), Decisions: h.GetDecisions(),
			SagaState: opt(h.GetSagaState()), StepState: opt(h.GetStepState()), EvidenceOnly: h.GetEvidenceOnly(),
		}
		if event.Decisions == nil {
			event.Decisions = []string{}
		}
		if op := h.GetOperation(); op != sagav1.Operation_OPERATION_UNSPECIFIED {
			name := strings.ToLower(strings.TrimPrefix(op.String(), "OPERATION_"))
			event.Operation = opt(coordinatorapi.HistoryEventOperation(name))
		}
		v.Events = append(v.Events, event)
	}
	return v
}

func definitionView(d *saga.Definition, current bool) coordinatorapi.Definition {
	v := coordinatorapi.Definition{
		Name: d.Name(), Version: d.Version(), Hash: d.Hash().String(), Current: current,
		DeadlineSeconds: int64(d.Deadline().Seconds()), Mermaid: saga.Mermaid(d),
		Steps: []coordinatorapi.DefinitionStep{},
	}
	for stage, steps := range d.Stages() {
		for _, i := range steps {
			st := d.Steps()[i]
			v.Steps = append(v.Steps, coordinatorapi.DefinitionStep{
				Name: st.Name, Participant: st.Participant, Kind: coordinatorapi.DefinitionStepKind(st.Kind.String()),
				Stage: stage + 1, Optional: st.Optional, Do: st.Do, Undo: opt(st.Undo), Effect: opt(st.Effect),
				Claim: opt(st.Claim), Unclaim: opt(st.Unclaim),
			})
		}
	}
	return v
}
