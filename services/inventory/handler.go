package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/reflect/protoreflect"

	"recourse.dev/pkg/worker"
	inventoryv1 "recourse.dev/schemas/gen/recourse/inventory/v1"
	sagav1 "recourse.dev/schemas/gen/recourse/saga/v1"
)

// The effects this service reports.
const (
	effectStock          = "stock"
	effectStockCommitted = "stock_committed"
	handleReservation    = "reservation_id"
)

// waitForGoods is when the saga shall ask again for goods that are promised but not there yet.
const waitForGoods = 30 * time.Second

// Handler answers the commands of order sagas: one function per command kind, each taking a whole batch in the
// transaction of the poll. All of them read and lock for the batch, decide in Go on the locked rows command by command
// in record order, and save what they decided at once.
type Handler struct {
	now func() time.Time
}

// NewHandler makes a handler; now is the worker's outside tests.
func NewHandler(now func() time.Time) *Handler { return &Handler{now: now} }

// Register tells the worker what this service does.
func (h *Handler) Register(w *worker.Worker) {
	worker.Handle(w, worker.Handler[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock]{
		Do: h.ReserveStock, Undo: h.ReleaseStock,
	})
	worker.Handle(w, worker.Handler[*inventoryv1.CommitStock, worker.NoUndo]{Do: h.CommitStock})
	w.LockFirst(h.lockPoll)
}

// lockPoll takes the locks of a poll with commands of several kinds. Each handler locks in the one order for itself,
// but the second one of a transaction would begin again at the front while the first one's locks are held, and two
// workers that do so on the same goods deadlock. A poll of one kind needs nothing: its handler takes all at once.
func (h *Handler) lockPoll(ctx context.Context, tx pgx.Tx, commands []worker.Input) error {
	var skus []SKU
	var orders []uuid.UUID
	kinds := make(map[protoreflect.FullName]bool)
	for _, c := range commands {
		kinds[c.ProtoReflect().Descriptor().FullName()] = true
		if in, ok := c.(*inventoryv1.ReserveStock); ok {
			skus = append(skus, skusOf(in)...)
			continue
		}
		order, err := uuid.Parse(c.GetMeta().GetOrderId())
		if err != nil {
			return fmt.Errorf("reading an order id: %w", err)
		}
		orders = append(orders, order)
	}
	if len(kinds) < 2 {
		return nil
	}
	holdings, err := lockHoldings(ctx, tx, orders)
	if err != nil {
		return err
	}
	items, err := itemsBySKU(ctx, tx, skus)
	if err != nil {
		return err
	}
	keys, anywhere := reach(holdings)
	_, err = lockStock(ctx, tx, append(anywhere, trackedIDs(items)...), keys)
	return err
}

// reach lists the levels that releasing or committing the holdings can touch: those they keep something of, and for an
// expired hold, which may find its goods anywhere now, all levels of its items.
func reach(holdings []*Holding) (keys []LevelKey, anywhere []uuid.UUID) {
	for _, h := range holdings {
		switch {
		case h.State.Live():
			keys = append(keys, h.keys()...)
		case h.State == StateExpired:
			for _, l := range h.Lines {
				anywhere = append(anywhere, l.ItemID)
			}
		}
	}
	return keys, anywhere
}

// skusOf lists what an order names. What no SKU looks like is not even looked for; the rules find it unknown.
func skusOf(in *inventoryv1.ReserveStock) []SKU {
	var skus []SKU
	for _, l := range in.GetLines() {
		if sku := SKU(l.GetSku()); sku.Valid() {
			skus = append(skus, sku)
		}
	}
	return skus
}

func trackedIDs(items map[SKU]Item) []uuid.UUID {
	var ids []uuid.UUID
	for _, item := range items {
		if item.Tracked {
			ids = append(ids, item.ItemID)
		}
	}
	return ids
}

// ReserveStock holds every line of an order, or none. First come first served, in record order.
func (h *Handler) ReserveStock(
	ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.ReserveStock],
) ([]worker.Outcome, error) {
	now := instant(h.now())
	var skus []SKU
	orders := make([]uuid.UUID, len(batch))
	for i, c := range batch {
		orders[i] = c.OrderID
		skus = append(skus, skusOf(c.Input)...)
	}
	items, err := itemsBySKU(ctx, tx, skus)
	if err != nil {
		return nil, err
	}
	live, err := liveOrders(ctx, tx, orders)
	if err != nil {
		return nil, err
	}
	stock, err := lockStock(ctx, tx, trackedIDs(items), nil)
	if err != nil {
		return nil, err
	}
	c := changes{stock: stock}
	outcomes := make([]worker.Outcome, len(batch))
	for i, command := range batch {
		holding, refusal := reserve(command, items, live, stock, now)
		if refusal != nil {
			outcomes[i] = worker.Refused(refusal.Code, refusal.Detail)
			continue
		}
		live[command.OrderID] = true
		c.made = append(c.made, holding)
		outcomes[i] = worker.Done(effects(effectStock, holding),
			map[string]string{handleReservation: holding.ReservationID.String()})
	}
	return outcomes, save(ctx, tx, c)
}

// reserve decides one ReserveStock on locked stock.
func reserve(
	command *worker.Command[*inventoryv1.ReserveStock], items map[SKU]Item, live map[uuid.UUID]bool, stock *Stock,
	now time.Time,
) (*Holding, *Refusal) {
	in := command.Input
	if live[command.OrderID] {
		return nil, &Refusal{CodeAlreadyReserved, fmt.Sprintf("order %s holds stock already", command.OrderID)}
	}
	if err := in.GetExpiresAt().CheckValid(); err != nil {
		return nil, &Refusal{CodeInvalidCommand, "expires_at is missing or no time: a hold without an end is not made"}
	}
	expires := instant(in.GetExpiresAt().AsTime())
	if !expires.After(now) {
		return nil, &Refusal{
			CodeReservationExpired,
			fmt.Sprintf("the hold was to end at %s, which has passed", expires.Format(time.RFC3339)),
		}
	}
	if country := in.GetShipToCountry(); country != "" && !countryShape.MatchString(country) {
		return nil, &Refusal{CodeInvalidCommand, fmt.Sprintf("ship_to_country %q is no ISO 3166-1 alpha-2 code", country)}
	}
	holding := &Holding{Reservation: Reservation{
		ReservationID: uuid.Must(uuid.NewV7()),
		OrderID:       command.OrderID,
		SagaID:        command.SagaID,
		Purpose:       purposeOrder,
		State:         StateHeld,
		ShipToCountry: in.GetShipToCountry(),
		ExpiresAt:     &expires,
		CreatedAt:     now,
	}}
	wants := make([]Want, len(in.GetLines()))
	for i, l := range in.GetLines() {
		wants[i] = Want{OrderLineID: l.GetLineId(), SKU: SKU(l.GetSku()), Quantity: l.GetQuantity()}
	}
	lines, refusal := stock.Reserve(wants, items, holding.ShipToCountry, holding.cause("ordered", now))
	if refusal != nil {
		return nil, refusal
	}
	holding.Lines = lines
	return holding, nil
}

// ReleaseStock gives back what the saga's ReserveStock holds. A hold that has expired or was released is gone already.
func (h *Handler) ReleaseStock(
	ctx context.Context, tx pgx.Tx, batch []*worker.Undo[*inventoryv1.ReserveStock, *inventoryv1.ReleaseStock],
) ([]worker.Outcome, error) {
	now := instant(h.now())
	orders := make([]uuid.UUID, len(batch))
	for i, u := range batch {
		orders[i] = u.OrderID
	}
	holdings, err := lockHoldings(ctx, tx, orders)
	if err != nil {
		return nil, err
	}
	byOrder := make(map[uuid.UUID][]*Holding, len(holdings))
	var keys []LevelKey
	for _, holding := range holdings {
		byOrder[holding.OrderID] = append(byOrder[holding.OrderID], holding)
		if holding.State == StateHeld {
			keys = append(keys, holding.keys()...)
		}
	}
	stock, err := lockStock(ctx, tx, nil, keys)
	if err != nil {
		return nil, err
	}
	c := changes{stock: stock}
	outcomes := make([]worker.Outcome, len(batch))
	for i, u := range batch {
		outcomes[i] = worker.Undone()
		for _, holding := range byOrder[u.OrderID] {
			if holding.SagaID != u.SagaID {
				continue // another saga's hold for the same order is not ours to release
			}
			switch holding.State {
			case StateHeld:
				holding.Release(stock, u.SagaID, plain(u.Input.GetReason()), now)
				c.decided = append(c.decided, holding)
			case StateExpired:
				holding.Abandon(u.SagaID, plain(u.Input.GetReason()), now)
				c.decided = append(c.decided, holding)
			case StateCommitted, StateConsumed:
				outcomes[i] = worker.UndoRefused(CodeAlreadyCommitted, fmt.Sprintf(
					"reservation %s is %s since %s; take the goods back by a return",
					holding.ReservationID, holding.State, holding.DecidedAt.UTC().Format(time.RFC3339)))
			case StateReleased:
			}
		}
	}
	return outcomes, save(ctx, tx, c)
}

// CommitStock turns the order's hold into stock that has left. A hold that the clock took is made once more if the
// goods are still there; whoever locks the reservation first, this or the sweeper, decides which of the two happens.
func (h *Handler) CommitStock(
	ctx context.Context, tx pgx.Tx, batch []*worker.Command[*inventoryv1.CommitStock],
) ([]worker.Outcome, error) {
	now := instant(h.now())
	orders := make([]uuid.UUID, len(batch))
	for i, c := range batch {
		orders[i] = c.OrderID
	}
	holdings, err := lockHoldings(ctx, tx, orders)
	if err != nil {
		return nil, err
	}
	byOrder := make(map[uuid.UUID][]*Holding, len(holdings))
	for _, holding := range holdings {
		byOrder[holding.OrderID] = append(byOrder[holding.OrderID], holding)
	}
	keys, anywhere := reach(holdings)
	stock, err := lockStock(ctx, tx, anywhere, keys)
	if err != nil {
		return nil, err
	}
	c := changes{stock: stock}
	outcomes := make([]worker.Outcome, len(batch))
	for i, command := range batch {
		var made *Holding
		outcomes[i], made = commit(command, byOrder[command.OrderID], stock, &c, now)
		if made != nil {
			byOrder[command.OrderID] = append(byOrder[command.OrderID], made)
		}
	}
	return outcomes, save(ctx, tx, c)
}

// commit decides one CommitStock on the order's locked reservations. It returns the holding it made, if it made one.
func commit(
	command *worker.Command[*inventoryv1.CommitStock], of []*Holding, stock *Stock, c *changes, now time.Time,
) (worker.Outcome, *Holding) {
	holding := pick(of)
	var made *Holding
	switch {
	case holding == nil:
		return worker.Refused(CodeNoReservation, fmt.Sprintf("order %s has no reservation", command.OrderID)), nil
	case holding.State == StateReleased:
		return worker.Refused(CodeNoReservation, fmt.Sprintf("reservation %s was released at %s: %s",
			holding.ReservationID, holding.DecidedAt.UTC().Format(time.RFC3339), holding.Reason)), nil
	case holding.State == StateConsumed: // the goods of this order have left, which is what was asked for
		return worker.Done(effects(effectStockCommitted, holding), nil), nil
	case holding.State == StateExpired:
		again, refusal := holding.Again(stock, uuid.Must(uuid.NewV7()), now)
		if refusal != nil {
			return worker.Refused(CodeReservationExpired, fmt.Sprintf("reservation %s ended at %s and cannot be made again: %s",
				holding.ReservationID, holding.ExpiresAt.UTC().Format(time.RFC3339), refusal.Detail)), nil
		}
		made, holding = again, again
		c.made = append(c.made, made)
	}
	before := holding.State
	missing, ok := holding.Consume(stock, command.SagaID, now)
	if made == nil && holding.State != before && !slices.Contains(c.decided, holding) {
		c.decided = append(c.decided, holding)
	}
	if !ok {
		// Written although nothing was consumed: the promise no longer expires while its goods are waited for.
		return worker.Retry(waitForGoods, "waiting for goods: "+missing), made
	}
	return worker.Done(effects(effectStockCommitted, holding), nil), made
}

// effects lists what an order line holds of the world, one effect per line, whatever locations it comes from.
func effects(kind string, holding *Holding) []*sagav1.Effect {
	wants := wantsOf(holding.Lines)
	list := make([]*sagav1.Effect, len(wants))
	for i, w := range wants {
		list[i] = &sagav1.Effect{
			Kind: kind, Amount: w.Quantity, Unit: string(w.SKU), Handle: holding.ReservationID.String(),
		}
	}
	return list
}

// instant is the one moment that all rows of a transaction carry: UTC, and as exact as the database keeps it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// plain makes a text of somebody else fit for the database: an undo must not fail because of its wording.
func plain(s string) string {
	const most = 200
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}
