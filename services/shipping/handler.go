package shipping

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/coalesce"
	"recourse.dev/pkg/crash"
	"recourse.dev/pkg/worker"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
	shippingv1 "recourse.dev/schemas/gen/recourse/shipping/v1"
)

// handler does what commands ask for. Prepare and Settle are transactions of a whole batch; Call is one conversation
// with the carrier, many of them at a time.
type handler struct {
	carrier     Carrier
	begin       *coalesce.Group[intent, *begun]
	bookedRef   func(ctx context.Context, id uuid.UUID) (string, error)
	unitWeightG int64
	now         func() time.Time
}

// beginLinger lets the calls of a poll, which come one after the other, store their attempts in one transaction.
const beginLinger = 2 * time.Millisecond

func newHandler(pool *pgxpool.Pool, carrier Carrier, unitWeightG int64, visibility time.Duration) *handler {
	h := &handler{carrier: carrier, unitWeightG: unitWeightG}
	h.begin = coalesce.New(func(ctx context.Context, intents []intent) ([]*begun, error) {
		return begin(ctx, pool, intents, visibility)
	}, coalesce.Options{Linger: beginLinger})
	h.bookedRef = func(ctx context.Context, id uuid.UUID) (string, error) { return bookedRef(ctx, pool, id) }
	return h
}

// register tells the worker, whose clock is ours, what this service can do.
func (h *handler) register(w *worker.Worker) {
	h.now = w.Now
	worker.HandleCall(w, worker.CallHandler[*shippingv1.CreateShipment, *shippingv1.CancelShipment]{
		Prepare:     h.prepareCreate,
		Call:        h.callCreate,
		Settle:      h.settleCreate,
		PrepareUndo: h.prepareCancel,
		CallUndo:    h.callCancel,
		SettleUndo:  h.settleCancel,
	})
}

// close waits for the statements that are on their way.
func (h *handler) close() { h.begin.Close() }

// prepareCreate stores each shipment with its items, its package, the label that is asked for and the operation that
// asks for it. What no carrier could deliver is refused here.
func (h *handler) prepareCreate(
	ctx context.Context, tx pgx.Tx, batch []*worker.Command[*shippingv1.CreateShipment],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	plans := make([]plan, 0, len(batch))
	planned := make([]int, 0, len(batch))
	for i, c := range batch {
		if why := checkAddress(c.Input.GetShipTo()); why != "" {
			outcomes[i] = worker.Refused(CodeAddressInvalid, why)
			continue
		}
		items, weight, why := pack(c.Input.GetItems(), h.unitWeightG)
		if why != "" {
			outcomes[i] = worker.Refused(CodeItemsInvalid, why)
			continue
		}
		plans = append(plans, plan{
			ShipmentID: ShipmentID(c.SagaID, c.Key), OrderID: c.OrderID, SagaID: c.SagaID, Step: c.Step,
			Generation: c.Generation, Reference: c.Input.GetReference(), ShipTo: c.Input.GetShipTo(),
			Items: items, WeightG: weight,
		})
		planned = append(planned, i)
	}
	stored, err := insertPlans(ctx, tx, plans, h.now())
	if err != nil {
		return nil, err
	}
	for j, i := range planned {
		if stored[plans[j].ShipmentID] {
			outcomes[i] = worker.Call()
			continue
		}
		outcomes[i] = worker.Refused(CodeAlreadyShipped,
			fmt.Sprintf("order %s has a live shipment of another saga or generation", plans[j].OrderID))
	}
	return outcomes, nil
}

// answer is what one conversation with the carrier came to.
type answer struct {
	Outcome Outcome
	// Begun is the intent that was stored before the request that can change something; nil if none was sent.
	Begun   *begun
	EndedAt time.Time
}

// callCreate buys the label of one shipment, or finds out that it is bought.
//
// A booking is free, its label is not. Which booking the label is bought for is stored before it is bought, and the
// carrier sells one label for a booking, so whatever is lost, late or repeated, a second label cannot come about:
//
//   - The answer to the booking is lost: the next try finds it, or makes another one, which costs nothing.
//   - The answer to the purchase is lost: the next try finds the booking with its label.
//   - The purchase is on its way for long: the next try finds no label and waits for the visibility delay, then buys
//     for the same booking again; of the two purchases the carrier refuses one.
//   - The process dies between two lines: the resolver starts here again.
func (h *handler) callCreate(ctx context.Context, c *worker.Command[*shippingv1.CreateShipment]) (any, error) {
	id := ShipmentID(c.SagaID, c.Key)
	booking, outcome := h.book(ctx, id, c)
	if outcome != nil {
		return h.answer(outcome, nil), nil
	}
	if booking.Label != nil {
		return h.answer(Succeeded{Booking: booking}, nil), nil
	}
	if err := crash.Fail(crash.ShippingAfterBooking); err != nil {
		return nil, err
	}
	b, err := h.begin.Do(ctx, intent{ShipmentID: id, Kind: Buy, CarrierRef: booking.Ref, At: h.now()})
	if err == nil {
		err = crash.Fail(crash.ShippingAfterIntent)
	}
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("buying the label of shipment %s: %w", id, errNotOpen)
	}
	if b.AttemptNo == 0 {
		return h.answer(Unknown{Detail: "the purchase may still be on its way to booking " + b.CarrierRef}, nil), nil
	}
	if b.CarrierRef != booking.Ref {
		// Found was another booking than the one that counts, which lists may not show yet.
		got, ok := h.carrier.Get(ctx, b.CarrierRef).(Succeeded)
		if !ok {
			return h.answer(Unknown{NotSent: true, Detail: "booking " + b.CarrierRef + " cannot be read"}, b), nil
		}
		booking = got.Booking
	}
	return h.answer(h.carrier.Buy(ctx, booking), b), nil
}

// book returns a booking under our reference, made now or before, or the outcome that keeps it from being there.
//
// A booking may be refused for good only while it is certain that no label was asked for: a carrier whose lists lag
// behind may refuse today what it booked a minute ago.
func (h *handler) book(
	ctx context.Context, id uuid.UUID, c *worker.Command[*shippingv1.CreateShipment],
) (Booking, Outcome) {
	if c.Probe > 0 {
		found := h.carrier.Find(ctx, id.String())
		if _, missing := found.(NotFound); missing {
			ref, err := h.bookedRef(ctx, id)
			if err != nil {
				return Booking{}, Unknown{Detail: err.Error()}
			}
			if ref != "" {
				if found = h.carrier.Get(ctx, ref); found == (NotFound{}) {
					found = Unknown{Detail: "the carrier does not know booking " + ref}
				}
			}
		}
		switch found := found.(type) {
		case Succeeded:
			return found.Booking, nil
		case Unknown:
			return Booking{}, found
		case Refused:
			return Booking{}, Unknown{Detail: found.Detail}
		case NotFound:
		}
	}
	items, weight, why := pack(c.Input.GetItems(), h.unitWeightG)
	if why != "" {
		return Booking{}, Refused{Class: Invalid, Code: CodeItemsInvalid, Detail: why}
	}
	switch made := h.carrier.Create(ctx, parcelOf(id, c.Input, items, weight)).(type) {
	case Succeeded:
		return made.Booking, nil
	case Refused, Unknown:
		return Booking{}, made
	case NotFound:
	}
	return Booking{}, Unknown{Detail: "the carrier does not know its own address for bookings"}
}

func parcelOf(id uuid.UUID, in *shippingv1.CreateShipment, items []item, weightG int64) Parcel {
	to := in.GetShipTo()
	p := Parcel{
		Reference: id.String(), Name: to.GetName(), Street1: firstLine(to), City: to.GetCity(), Region: to.GetRegion(),
		Zip: to.GetPostalCode(), Country: to.GetCountry(), Phone: to.GetPhone(), Email: to.GetEmail(),
		WeightG: weightG, Items: items,
	}
	if lines := to.GetLines(); len(lines) > 1 {
		p.Street2 = strings.Join(lines[1:], ", ")
	}
	return p
}

// answer also turns a NotFound, which proves nothing here, into Unknown.
func (h *handler) answer(o Outcome, b *begun) *answer {
	if _, missing := o.(NotFound); missing {
		o = Unknown{Detail: "the carrier does not know the booking"}
	}
	return &answer{Outcome: o, Begun: b, EndedAt: h.now()}
}

// settleCreate writes what the carrier said.
func (h *handler) settleCreate(
	ctx context.Context, tx pgx.Tx, batch []worker.Settled[*shippingv1.CreateShipment],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	rows := make([]settled, len(batch))
	for i, c := range batch {
		rows[i] = settledOf(Buy, ShipmentID(c.SagaID, c.Key), c.Result, c.Err)
		switch s := rows[i]; s.Shipment {
		case Labelled:
			outcomes[i] = bought(s.ShipmentID, s.Booking)
		case RefusedShipment:
			outcomes[i] = worker.Refused(s.Refusal.Code, s.Refusal.Detail)
		default:
			outcomes[i] = worker.InDoubt(0, s.Detail)
		}
	}
	return outcomes, settle(ctx, tx, Buy, rows, h.now())
}

// bought is the reply that proves the label.
func bought(id uuid.UUID, b *Booking) worker.Outcome {
	return worker.Done(
		[]*sagav1.Effect{{Kind: "label", Amount: 1, Unit: "label", Handle: b.Label.Tracking}},
		map[string]string{
			"shipment_id":     id.String(),
			"tracking_number": b.Label.Tracking,
			"carrier":         b.Label.Carrier,
			"carrier_ref":     b.Ref,
		},
	)
}

// settledOf looks up what becomes of the rows of a shipment. A call that failed, whose result is nil, is unknown.
func settledOf(kind OperationKind, id uuid.UUID, result any, err error) settled {
	s := settled{ShipmentID: id}
	a, ok := result.(*answer)
	if !ok {
		s.settlement, s.Detail = settlements[kind][foundUnknown], "the call ended without an answer"
		if err != nil {
			s.Detail = err.Error()
		}
		return s
	}
	s.Begun, s.EndedAt = a.Begun, a.EndedAt
	switch o := a.Outcome.(type) {
	case Succeeded:
		s.settlement, s.Booking, s.Outcome = settlements[kind][foundSucceeded], &o.Booking, AttemptAnswered
	case Refused:
		s.settlement, s.Refusal, s.Outcome = settlements[kind][foundRefused], &o, AttemptAnswered
		s.Detail = o.Detail
	case Unknown:
		s.settlement, s.Outcome, s.Detail = settlements[kind][foundUnknown], AttemptUnanswered, o.Detail
		if o.NotSent {
			s.Outcome = AttemptNotSent
		}
	case NotFound:
		s.settlement, s.Outcome = settlements[kind][foundUnknown], AttemptUnanswered
	}
	return s
}

// prepareCancel stores that the labels shall be voided.
func (h *handler) prepareCancel(
	ctx context.Context, tx pgx.Tx, batch []*worker.Undo[*shippingv1.CreateShipment, *shippingv1.CancelShipment],
) ([]worker.Outcome, error) {
	ids := make([]uuid.UUID, len(batch))
	for i, u := range batch {
		ids[i] = ShipmentID(u.SagaID, u.Key)
	}
	open, err := cancel(ctx, tx, ids, h.now())
	if err != nil {
		return nil, err
	}
	outcomes := make([]worker.Outcome, len(batch))
	for i, id := range ids {
		if outcomes[i] = worker.Call(); !open[id] {
			outcomes[i] = worker.UndoRefused("no_label", fmt.Sprintf("shipment %s has no label that could be voided", id))
		}
	}
	return outcomes, nil
}

// callCancel voids the label of one shipment, or finds out that it is void. The carrier refuses to void a label twice,
// so asking again is harmless; it looks first all the same.
func (h *handler) callCancel(
	ctx context.Context, u *worker.Undo[*shippingv1.CreateShipment, *shippingv1.CancelShipment],
) (any, error) {
	ref := u.DoReply.GetDone().GetHandles()["carrier_ref"]
	if u.Probe > 0 {
		switch found := h.carrier.Get(ctx, ref).(type) {
		case Succeeded:
			if found.Booking.Void != VoidNotAsked {
				return h.answer(voidOutcome(found, ref), nil), nil
			}
		case Refused, Unknown, NotFound:
			return h.answer(Unknown{Detail: fmt.Sprintf("reading booking %s: %v", ref, found)}, nil), nil
		}
	}
	id := ShipmentID(u.SagaID, u.Key)
	b, err := h.begin.Do(ctx, intent{ShipmentID: id, Kind: Void, CarrierRef: ref, At: h.now()})
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("voiding the label of shipment %s: %w", id, errNotOpen)
	}
	if b.AttemptNo == 0 {
		return h.answer(Unknown{Detail: "the refund may still be on its way to booking " + ref}, nil), nil
	}
	return h.answer(h.carrier.Void(ctx, b.CarrierRef), b), nil
}

// settleCancel writes what the carrier said.
func (h *handler) settleCancel(
	ctx context.Context, tx pgx.Tx, batch []worker.SettledUndo[*shippingv1.CreateShipment, *shippingv1.CancelShipment],
) ([]worker.Outcome, error) {
	outcomes := make([]worker.Outcome, len(batch))
	rows := make([]settled, len(batch))
	for i, u := range batch {
		rows[i] = settledOf(Void, ShipmentID(u.SagaID, u.Key), u.Result, u.Err)
		switch s := rows[i]; s.Shipment {
		case Cancelled:
			outcomes[i] = worker.Undone()
		case CancelRejected:
			outcomes[i] = worker.UndoRefused(s.Refusal.Code, s.Refusal.Detail)
		default:
			outcomes[i] = worker.InDoubt(0, s.Detail)
		}
	}
	return outcomes, settle(ctx, tx, Void, rows, h.now())
}
