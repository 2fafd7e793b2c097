package inventory

import (
	"time"

	"github.com/google/uuid"
)

// State is where a reservation stands. The list is repeated in the CHECK state_known; a test compares.
type State string

const (
	// StateHeld: promised until expires_at.
	StateHeld State = "held"
	// StateCommitted: promised for good; the goods to ship are still missing (backorder, shortage).
	StateCommitted State = "committed"
	// StateConsumed: the goods have left.
	StateConsumed State = "consumed"
	// StateReleased: given back by the order.
	StateReleased State = "released"
	// StateExpired: given back by the clock. The order's commit may make it again; the order's release ends that.
	StateExpired State = "expired"
)

// States lists every state.
func States() []State {
	return []State{StateHeld, StateCommitted, StateConsumed, StateReleased, StateExpired}
}

// Live says whether the state keeps stock from others.
func (s State) Live() bool { return s == StateHeld || s == StateCommitted }

// purposeOrder is the purpose of the reservation that fulfils an order. An order has one live one per purpose.
const purposeOrder = "order"

// Refusal codes. They are part of the contract with whoever reads a reply.
const (
	CodeOutOfStock         = "out_of_stock"
	CodeUnknownSKU         = "unknown_sku"
	CodeReservationExpired = "reservation_expired"
	CodeInvalidCommand     = "invalid_command"
	CodeAlreadyReserved    = "already_reserved"
	CodeAlreadyCommitted   = "already_committed"
	CodeNoReservation      = "no_reservation"
)

// Refusal is a business no: a code for programs and a sentence for people.
type Refusal struct {
	Code   string
	Detail string
}

// Reservation is a promise of stock to an order.
type Reservation struct {
	ReservationID uuid.UUID
	OrderID       uuid.UUID
	SagaID        uuid.UUID
	Purpose       string
	State         State
	ShipToCountry string
	ExpiresAt     *time.Time
	CreatedAt     time.Time
	DecidedAt     *time.Time
	// DecidedBy is the saga that decided; nil when the clock did.
	DecidedBy *uuid.UUID
	Reason    string
}

// Line is what one location gives to one order line.
type Line struct {
	ReservationID uuid.UUID
	OrderLineID   string
	LevelKey
	SKU      SKU
	Qty      int64
	Shipped  int64
	Released int64
}

// Open is what the line still keeps.
func (l Line) Open() int64 { return l.Qty - l.Shipped - l.Released }

// Holding is a reservation with its lines, as a batch works on it. The rules are its methods: they change the holding
// and the stock together, and what they changed is saved by the same transaction.
type Holding struct {
	Reservation
	Lines []Line
}

// keys are the levels that the holding keeps something of.
func (h *Holding) keys() []LevelKey {
	keys := make([]LevelKey, len(h.Lines))
	for i, l := range h.Lines {
		keys[i] = l.LevelKey
	}
	return keys
}

// Consume lets the goods leave. When some are not there yet (backorder, shortage) nothing leaves, and the promise is
// made for good: the customer has paid, so the clock must not take it back while the goods are waited for.
func (h *Holding) Consume(stock *Stock, saga uuid.UUID, at time.Time) (missing string, ok bool) {
	missing, ok = stock.Ship(h.Lines, h.cause("committed by the order", at))
	if !ok {
		if h.State == StateHeld {
			h.decide(StateCommitted, &saga, "waiting for goods", at)
		}
		return missing, false
	}
	for i := range h.Lines {
		h.Lines[i].Shipped += h.Lines[i].Open()
	}
	h.decide(StateConsumed, &saga, "", at)
	return "", true
}

// Release gives back what is held because the order says so.
func (h *Holding) Release(stock *Stock, saga uuid.UUID, reason string, at time.Time) {
	h.giveBack(stock, KindRelease, h.cause(reason, at))
	h.decide(StateReleased, &saga, reason, at)
}

// Abandon releases what the clock has given back already, so that no commit makes it again.
func (h *Holding) Abandon(saga uuid.UUID, reason string, at time.Time) {
	h.decide(StateReleased, &saga, reason, at)
}

// Expire gives back what is held because its time is over.
func (h *Holding) Expire(stock *Stock, at time.Time) {
	const reason = "the hold ended"
	h.giveBack(stock, KindExpire, h.cause(reason, at))
	h.decide(StateExpired, nil, reason, at)
}

func (h *Holding) giveBack(stock *Stock, kind Kind, cause Cause) {
	stock.GiveBack(h.Lines, kind, cause)
	for i := range h.Lines {
		h.Lines[i].Released += h.Lines[i].Open()
	}
}

func (h *Holding) decide(state State, by *uuid.UUID, reason string, at time.Time) {
	h.State, h.DecidedAt, h.DecidedBy, h.Reason = state, &at, by, reason
}

func (h *Holding) cause(reason string, at time.Time) Cause {
	return Cause{CauseID: h.ReservationID, Reason: reason, Actor: "saga:" + h.SagaID.String(), At: at}
}

// Again is the holding that takes an expired one's place, for the same goods, if they are still there.
func (h *Holding) Again(stock *Stock, id uuid.UUID, at time.Time) (*Holding, *Refusal) {
	items := make(map[SKU]Item, len(h.Lines))
	for _, l := range h.Lines {
		items[l.SKU] = Item{ItemID: l.ItemID, SKU: l.SKU, Tracked: true}
	}
	again := &Holding{Reservation: h.Reservation}
	again.ReservationID, again.State, again.CreatedAt = id, StateHeld, at
	again.DecidedAt, again.DecidedBy, again.Reason = nil, nil, ""
	if len(h.Lines) == 0 { // an order of untracked items only holds nothing
		return again, nil
	}
	lines, refusal := stock.Reserve(wantsOf(h.Lines), items, h.ShipToCountry, again.cause("taken again after expiry", at))
	if refusal != nil {
		return nil, refusal
	}
	again.Lines = lines
	return again, nil
}

// pick finds the reservation that a commit of the order means: the live one, else what became of the newest.
// Holdings come oldest first; only the newest can be live, because a new one is made only when none is.
func pick(holdings []*Holding) *Holding {
	if len(holdings) == 0 {
		return nil
	}
	for _, h := range holdings {
		if h.State.Live() {
			return h
		}
	}
	return holdings[len(holdings)-1]
}
