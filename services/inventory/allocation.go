package inventory

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Limits of one order, so that sums cannot overflow and the database takes what was let in.
const (
	maxLines    = 1000
	maxQuantity = 1_000_000_000
)

// lineIDShape is printable ASCII.
var lineIDShape = regexp.MustCompile(`^[!-~]{1,64}$`)

// Want is one line of an order.
type Want struct {
	OrderLineID string
	SKU         SKU
	Quantity    int64
}

// checkWants finds what no order can mean.
func checkWants(wants []Want) *Refusal {
	if len(wants) == 0 || len(wants) > maxLines {
		return &Refusal{CodeInvalidCommand, fmt.Sprintf("an order has 1 to %d lines, not %d", maxLines, len(wants))}
	}
	seen := make(map[string]bool, len(wants))
	for _, w := range wants {
		switch {
		case !lineIDShape.MatchString(w.OrderLineID):
			return &Refusal{CodeInvalidCommand, fmt.Sprintf("line id %q is not 1 to 64 printable characters", w.OrderLineID)}
		case seen[w.OrderLineID]:
			return &Refusal{CodeInvalidCommand, fmt.Sprintf("line id %q is there twice", w.OrderLineID)}
		case w.Quantity < 1 || w.Quantity > maxQuantity:
			return &Refusal{CodeInvalidCommand, fmt.Sprintf(
				"line %q wants %d of %s; 1 to %d can be ordered", w.OrderLineID, w.Quantity, w.SKU, maxQuantity)}
		}
		seen[w.OrderLineID] = true
	}
	return nil
}

// Reserve promises all that is wanted, or changes nothing and says why. Lines of one SKU are added up first, so two of
// them cannot both count on the same last unit. Untracked items are skipped: there is nothing to hold.
func (s *Stock) Reserve(wants []Want, items map[SKU]Item, shipTo string, cause Cause) ([]Line, *Refusal) {
	if refusal := checkWants(wants); refusal != nil {
		return nil, refusal
	}
	var skus []SKU // in order of appearance, so that the same order is always answered the same way
	total := make(map[SKU]int64, len(wants))
	var unknown []string
	for _, w := range wants {
		item, known := items[w.SKU]
		if _, again := total[w.SKU]; !again {
			switch {
			case !known:
				unknown = append(unknown, fmt.Sprintf("%q", w.SKU))
			case item.Tracked:
				skus = append(skus, w.SKU)
			}
		}
		total[w.SKU] += w.Quantity
	}
	if len(unknown) > 0 {
		return nil, &Refusal{CodeUnknownSKU, "not in the catalogue: " + strings.Join(unknown, ", ")}
	}
	var short []string
	for _, sku := range skus {
		var free int64
		for _, shelf := range s.forSale(items[sku].ItemID) {
			free += shelf.Promisable()
		}
		if free < total[sku] {
			short = append(short, fmt.Sprintf("%s: wanted %d, available %d", sku, total[sku], free))
		}
	}
	if len(short) > 0 {
		return nil, &Refusal{CodeOutOfStock, strings.Join(short, "; ")}
	}
	var lines []Line
	for _, sku := range skus {
		takes := place(s.forSale(items[sku].ItemID), total[sku], shipTo)
		for _, t := range takes {
			s.Move(t.shelf.LevelKey, KindReserve, Delta{Reserved: t.qty}, cause)
		}
		lines = append(lines, deal(takes, wants, sku, cause.CauseID)...)
	}
	return lines, nil
}

// forSale returns the active shelves of an item in the order in which they are asked.
func (s *Stock) forSale(item uuid.UUID) []*Shelf {
	return slices.DeleteFunc(slices.Clone(s.byItem[item]), func(shelf *Shelf) bool { return !shelf.Active })
}

// take is a quantity from a shelf.
type take struct {
	shelf *Shelf
	qty   int64
}

// place chooses where a quantity comes from: one location in the country it ships to if it has all of it, else the
// first by priority that has all of it, else as few as come by asking near ones first. The shelves hold enough.
func place(shelves []*Shelf, qty int64, shipTo string) []take {
	near := func(shelf *Shelf) bool { return shelf.Country == shipTo }
	ranked := slices.Clone(shelves)
	slices.SortStableFunc(ranked, func(a, b *Shelf) int {
		switch {
		case near(a) == near(b):
			return 0
		case near(a):
			return -1
		default:
			return 1
		}
	})
	for _, shelf := range ranked {
		if shelf.Promisable() >= qty {
			return []take{{shelf, qty}}
		}
	}
	var takes []take
	for _, shelf := range ranked {
		if n := min(qty, shelf.Promisable()); n > 0 {
			takes = append(takes, take{shelf, n})
			qty -= n
		}
	}
	return takes
}

// deal hands what was taken for a SKU to the order lines that want it, in their order.
func deal(takes []take, wants []Want, sku SKU, reservation uuid.UUID) []Line {
	var lines []Line
	next := 0
	for _, w := range wants {
		if w.SKU != sku {
			continue
		}
		for open := w.Quantity; open > 0; {
			t := &takes[next]
			n := min(open, t.qty)
			lines = append(lines, Line{
				ReservationID: reservation, OrderLineID: w.OrderLineID, LevelKey: t.shelf.LevelKey, SKU: sku, Qty: n,
			})
			open -= n
			if t.qty -= n; t.qty == 0 {
				next++
			}
		}
	}
	return lines
}

// Ship takes open lines off the shelves, all of them or none. It says what is missing when a promise was made beyond
// what is there (backorder) or a count found less than was promised (shortage).
func (s *Stock) Ship(lines []Line, cause Cause) (missing string, ok bool) {
	perLevel := openByLevel(lines)
	var gaps []string
	for _, p := range perLevel {
		shelf := s.shelves[p.key]
		if here := shelf.Shippable(); here < p.qty {
			gaps = append(gaps, fmt.Sprintf("%s at %s: needed %d, there %d", p.sku, shelf.Code, p.qty, here))
		}
	}
	if len(gaps) > 0 {
		return strings.Join(gaps, "; "), false
	}
	for _, p := range perLevel {
		s.Move(p.key, KindShip, Delta{OnHand: -p.qty, Reserved: -p.qty}, cause)
	}
	return "", true
}

// GiveBack returns what lines have open to sale; kind is KindRelease or KindExpire.
func (s *Stock) GiveBack(lines []Line, kind Kind, cause Cause) {
	for _, p := range openByLevel(lines) {
		s.Move(p.key, kind, Delta{Reserved: -p.qty}, cause)
	}
}

// openQty is what a reservation has open at one level.
type openQty struct {
	key LevelKey
	sku SKU
	qty int64
}

// openByLevel adds up open lines, because a cause moves a level at most once in each way.
func openByLevel(lines []Line) []openQty {
	var sums []openQty
	index := make(map[LevelKey]int, len(lines))
	for _, l := range lines {
		if l.Open() == 0 {
			continue
		}
		at, seen := index[l.LevelKey]
		if !seen {
			at = len(sums)
			index[l.LevelKey] = at
			sums = append(sums, openQty{key: l.LevelKey, sku: l.SKU})
		}
		sums[at].qty += l.Open()
	}
	return sums
}

// wantsOf reads a reservation's lines as the order that made them, to take an expired hold again.
func wantsOf(lines []Line) []Want {
	var wants []Want
	index := make(map[string]int, len(lines))
	for _, l := range lines {
		at, seen := index[l.OrderLineID]
		if !seen {
			at = len(wants)
			index[l.OrderLineID] = at
			wants = append(wants, Want{OrderLineID: l.OrderLineID, SKU: l.SKU})
		}
		wants[at].Quantity += l.Qty
	}
	return wants
}
