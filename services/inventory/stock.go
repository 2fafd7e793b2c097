package inventory

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Kind says what a movement was. The list is repeated in the CHECK kind_shape; a test compares.
type Kind string

const (
	// KindReceive: goods came in.
	KindReceive Kind = "receive"
	// KindAdjust: a count or a person found another number than the book.
	KindAdjust Kind = "adjust"
	// KindReserve: promised to an order.
	KindReserve Kind = "reserve"
	// KindRelease: the order gave it back.
	KindRelease Kind = "release"
	// KindExpire: the clock gave it back.
	KindExpire Kind = "expire"
	// KindShip: it left for a customer.
	KindShip Kind = "ship"
	// KindReturn: it came back from a customer.
	KindReturn Kind = "return"
	// KindQuarantine: taken from sale, or put back on sale, without moving.
	KindQuarantine Kind = "quarantine"
	// KindTransfer: moved between two locations of ours.
	KindTransfer Kind = "transfer"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		KindReceive, KindAdjust, KindReserve, KindRelease, KindExpire, KindShip, KindReturn, KindQuarantine, KindTransfer,
	}
}

// LevelKey names a level. Levels are locked in the order of compareKeys, everywhere.
type LevelKey struct {
	ItemID     uuid.UUID
	LocationID uuid.UUID
}

// compareKeys orders as PostgreSQL orders (item_id, location_id).
func compareKeys(a, b LevelKey) int {
	return cmp.Or(bytes.Compare(a.ItemID[:], b.ItemID[:]), bytes.Compare(a.LocationID[:], b.LocationID[:]))
}

// Level is the stock of one item at one location.
type Level struct {
	LevelKey
	OnHand   int64
	Reserved int64
	// Unavailable is on the shelf but not for sale.
	Unavailable int64
	// BackorderLimit is how much may be promised beyond what is there.
	BackorderLimit int64
	// Shortage is how much of what is promised a count did not find.
	Shortage int64
	// Version counts the movements.
	Version int64
}

// Promisable is how much of the level can still be promised.
func (l Level) Promisable() int64 {
	return max(0, l.OnHand+l.BackorderLimit-l.Reserved-l.Unavailable)
}

// Shippable is how much can leave: what is there and not set apart, promised or not.
func (l Level) Shippable() int64 {
	return max(0, l.OnHand-l.Unavailable)
}

// Delta is a change of a level's three quantities.
type Delta struct {
	OnHand      int64
	Reserved    int64
	Unavailable int64
}

// Cause is why stock moves: the reservation or the request, who wanted it, and when.
type Cause struct {
	CauseID uuid.UUID
	Reason  string
	Actor   string
	At      time.Time
}

// Movement is one row of the ledger: the change, and the level after it.
type Movement struct {
	LevelKey
	Version int64
	Kind    Kind
	Delta   Delta
	After   Delta
	Cause
}

// Shelf is a locked level together with what choosing a location needs to know.
type Shelf struct {
	Level
	Code     string
	Country  string
	Active   bool
	Priority int32
}

// Stock is a set of locked levels that a batch works on: it keeps the running levels and the movements made, so that
// many orders of one batch may touch the same level and still every movement has its own version.
type Stock struct {
	shelves map[LevelKey]*Shelf
	// byItem holds the shelves of an item in the order in which they are asked: priority, then code.
	byItem map[uuid.UUID][]*Shelf
	// loaded is the version each level had in the database.
	loaded    map[LevelKey]int64
	movements []Movement
}

// NewStock takes over levels that the caller has locked.
func NewStock(shelves []Shelf) *Stock {
	s := &Stock{
		shelves: make(map[LevelKey]*Shelf, len(shelves)),
		byItem:  make(map[uuid.UUID][]*Shelf),
		loaded:  make(map[LevelKey]int64, len(shelves)),
	}
	for _, shelf := range shelves {
		s.shelves[shelf.LevelKey] = &shelf
		s.byItem[shelf.ItemID] = append(s.byItem[shelf.ItemID], &shelf)
		s.loaded[shelf.LevelKey] = shelf.Version
	}
	for _, of := range s.byItem {
		slices.SortFunc(of, func(a, b *Shelf) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Code, b.Code))
		})
	}
	return s
}

// Level returns the level as it is now.
func (s *Stock) Level(key LevelKey) (Level, bool) {
	shelf, ok := s.shelves[key]
	if !ok {
		return Level{}, false
	}
	return shelf.Level, true
}

// Movements returns what was moved, in order.
func (s *Stock) Movements() []Movement { return s.movements }

// Changed returns the levels that were moved, in lock order.
func (s *Stock) Changed() []Level {
	var changed []Level
	for key, shelf := range s.shelves {
		if shelf.Version != s.loaded[key] {
			changed = append(changed, shelf.Level)
		}
	}
	slices.SortFunc(changed, func(a, b Level) int { return compareKeys(a.LevelKey, b.LevelKey) })
	return changed
}

// Loaded is the version a level had when it was locked.
func (s *Stock) Loaded(key LevelKey) int64 { return s.loaded[key] }

// Move applies a change to a level and writes it down. The shortage follows: it is what is promised and not there
// beyond what backorders allow, so it can only come from counting, never from reserving (Promisable is 0 then).
func (s *Stock) Move(key LevelKey, kind Kind, d Delta, cause Cause) Movement {
	l := &s.shelves[key].Level
	l.OnHand += d.OnHand
	l.Reserved += d.Reserved
	l.Unavailable += d.Unavailable
	l.Shortage = max(0, l.Reserved+l.Unavailable-l.OnHand-l.BackorderLimit)
	l.Version++
	m := Movement{
		LevelKey: key,
		Version:  l.Version,
		Kind:     kind,
		Delta:    d,
		After:    Delta{OnHand: l.OnHand, Reserved: l.Reserved, Unavailable: l.Unavailable},
		Cause:    cause,
	}
	s.movements = append(s.movements, m)
	return m
}
