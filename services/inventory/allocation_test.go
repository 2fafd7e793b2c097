package inventory_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"recourse.dev/services/inventory"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shelf makes a level of an item at a location; ids are made of small numbers, so that tests can be read.
func shelf(item, location byte, onHand int64, country string, priority int32) inventory.Shelf {
	return inventory.Shelf{
		Level: inventory.Level{
			LevelKey: inventory.LevelKey{ItemID: uuid.UUID{15: item}, LocationID: uuid.UUID{15: location}},
			OnHand:   onHand,
			Version:  1,
		},
		Code:     fmt.Sprintf("L%d", location),
		Country:  country,
		Active:   true,
		Priority: priority,
	}
}

func catalogue(skus ...inventory.SKU) map[inventory.SKU]inventory.Item {
	items := make(map[inventory.SKU]inventory.Item)
	for i, sku := range skus {
		items[sku] = inventory.Item{ItemID: uuid.UUID{15: byte(i + 1)}, SKU: sku, Tracked: true}
	}
	return items
}

func causeOf(n int) inventory.Cause {
	return inventory.Cause{CauseID: uuid.UUID{0: byte(n >> 8), 1: byte(n), 15: 1}, Actor: "test", At: noon}
}

// told reduces lines to "line: quantity at location".
func told(lines []inventory.Line) []string {
	var text []string
	for _, l := range lines {
		text = append(text, fmt.Sprintf("%s: %d %s at L%d", l.OrderLineID, l.Qty, l.SKU, l.LocationID[15]))
	}
	return text
}

func TestStock_Reserve_ChoosesLocations(t *testing.T) {
	t.Parallel()
	de, fr, pl := shelf(1, 1, 5, "DE", 1), shelf(1, 2, 8, "FR", 2), shelf(1, 3, 3, "PL", 3)
	closed := shelf(1, 4, 100, "FR", 0)
	closed.Active = false
	for _, c := range []struct {
		name   string
		shipTo string
		qty    int64
		want   []string
	}{
		{"near_and_enough", "PL", 3, []string{"1: 3 MUG at L3"}},
		{"near_has_too_little_so_by_priority", "PL", 4, []string{"1: 4 MUG at L1"}},
		{"first_by_priority_has_too_little", "PL", 6, []string{"1: 6 MUG at L2"}},
		{"no_country_so_by_priority", "", 1, []string{"1: 1 MUG at L1"}},
		{"split_asks_the_near_one_first", "PL", 10, []string{"1: 3 MUG at L3", "1: 5 MUG at L1", "1: 2 MUG at L2"}},
		{"all_there_is", "FR", 16, []string{"1: 8 MUG at L2", "1: 5 MUG at L1", "1: 3 MUG at L3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stock := inventory.NewStock([]inventory.Shelf{pl, fr, de, closed})
			lines, refusal := stock.Reserve([]inventory.Want{{OrderLineID: "1", SKU: "MUG", Quantity: c.qty}},
				catalogue("MUG"), c.shipTo, causeOf(1))
			require.Nil(t, refusal)
			require.Equal(t, c.want, told(lines))
		})
	}
}

func TestStock_Reserve_SharesSplitAmongLinesOfOneSKU(t *testing.T) {
	t.Parallel()
	stock := inventory.NewStock([]inventory.Shelf{
		shelf(1, 1, 3, "DE", 1), shelf(1, 2, 4, "DE", 2), shelf(2, 1, 9, "DE", 1),
	})
	lines, refusal := stock.Reserve([]inventory.Want{
		{OrderLineID: "1", SKU: "MUG", Quantity: 2},
		{OrderLineID: "2", SKU: "PEN", Quantity: 1},
		{OrderLineID: "3", SKU: "MUG", Quantity: 5},
	}, catalogue("MUG", "PEN"), "DE", causeOf(1))
	require.Nil(t, refusal)
	require.Equal(t, []string{"1: 2 MUG at L1", "3: 1 MUG at L1", "3: 4 MUG at L2", "2: 1 PEN at L1"}, told(lines))
	require.Len(t, stock.Movements(), 3, "one per level, not per line")
}

func TestStock_Reserve_Refuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		wants        []inventory.Want
		code, detail string
	}{
		{"nothing", nil, "invalid_command", "an order has 1 to 1000 lines, not 0"},
		{
			"no_line_id",
			[]inventory.Want{{SKU: "MUG", Quantity: 1}},
			"invalid_command",
			`line id "" is not 1 to 64 printable characters`,
		},
		{"line_twice", []inventory.Want{{"1", "MUG", 1}, {"1", "PEN", 1}}, "invalid_command", `line id "1" is there twice`},
		{
			"none",
			[]inventory.Want{{"1", "MUG", 0}},
			"invalid_command",
			`line "1" wants 0 of MUG; 1 to 1000000000 can be ordered`,
		},
		{
			"overflow",
			[]inventory.Want{{"1", "MUG", 1 << 62}},
			"invalid_command",
			`line "1" wants 4611686018427387904 of MUG; 1 to 1000000000 can be ordered`,
		},
		{
			"unknown",
			[]inventory.Want{{"1", "MUG", 1}, {"2", "CUP", 1}, {"3", "mug", 1}, {"4", "CUP", 1}},
			"unknown_sku",
			`not in the catalogue: "CUP", "mug"`,
		},
		{
			"out_of_stock",
			[]inventory.Want{{"1", "PEN", 1}, {"2", "MUG", 9}, {"3", "INK", 1}},
			"out_of_stock",
			"MUG: wanted 9, available 7; INK: wanted 1, available 0",
		},
		// medusa#16502: each line alone would fit.
		{
			"lines_share_an_item",
			[]inventory.Want{{"1", "MUG", 4}, {"2", "MUG", 4}},
			"out_of_stock",
			"MUG: wanted 8, available 7",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stock := inventory.NewStock([]inventory.Shelf{
				shelf(1, 1, 3, "DE", 1), shelf(1, 2, 4, "DE", 2), shelf(2, 1, 9, "DE", 1),
			})
			lines, refusal := stock.Reserve(c.wants, catalogue("MUG", "PEN", "INK"), "DE", causeOf(1))
			require.Empty(t, lines)
			require.Equal(t, &inventory.Refusal{Code: c.code, Detail: c.detail}, refusal)
			require.Empty(t, stock.Movements(), "a refusal holds nothing")
		})
	}
}

func TestStock_Reserve_SkipsUntrackedItems(t *testing.T) {
	t.Parallel()
	items := catalogue("MUG", "GIFT-CARD")
	items["GIFT-CARD"] = inventory.Item{ItemID: uuid.UUID{15: 2}, SKU: "GIFT-CARD"}
	stock := inventory.NewStock([]inventory.Shelf{shelf(1, 1, 3, "DE", 1)})
	lines, refusal := stock.Reserve([]inventory.Want{{"1", "GIFT-CARD", 1000}, {"2", "MUG", 1}}, items, "DE", causeOf(1))
	require.Nil(t, refusal)
	require.Equal(t, []string{"2: 1 MUG at L1"}, told(lines))
}

func TestStock_Reserve_PromisesBackorders(t *testing.T) {
	t.Parallel()
	later := shelf(1, 1, 2, "DE", 1)
	later.BackorderLimit = 3
	stock := inventory.NewStock([]inventory.Shelf{later})
	lines, refusal := stock.Reserve([]inventory.Want{{"1", "MUG", 5}}, catalogue("MUG"), "DE", causeOf(1))
	require.Nil(t, refusal)
	missing, ok := stock.Ship(lines, causeOf(1))
	require.False(t, ok, "what is not there cannot leave")
	require.Equal(t, "MUG at L1: needed 5, there 2", missing)
	level, _ := stock.Level(later.LevelKey)
	require.Equal(t, int64(5), level.Reserved)
	require.Equal(t, int64(0), level.Shortage)
}

// world is the plain model: per item the total that can still be promised, and what each order holds.
type world struct {
	free    map[inventory.SKU]int64
	holding map[int][]inventory.Line
}

// TestStock_AgreesWithThePlainModel runs random orders, shipments and releases of one batch against totals per SKU.
func TestStock_AgreesWithThePlainModel(t *testing.T) {
	t.Parallel()
	skus := []inventory.SKU{"MUG", "PEN", "INK"}
	items := catalogue(skus...)
	rapid.Check(t, func(t *rapid.T) {
		model := world{free: make(map[inventory.SKU]int64), holding: make(map[int][]inventory.Line)}
		var shelves []inventory.Shelf
		for i, sku := range skus {
			for location := range byte(3) {
				onHand := rapid.Int64Range(0, 12).Draw(t, "on_hand")
				s := shelf(byte(i+1), location+1, onHand, []string{"DE", "FR", "DE"}[location], int32(location))
				s.Active = rapid.IntRange(0, 4).Draw(t, "active") > 0
				if s.Active {
					model.free[sku] += onHand
				}
				shelves = append(shelves, s)
			}
		}
		stock := inventory.NewStock(shelves)
		for n := range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"reserve", "reserve", "ship", "release"}).Draw(t, "step") {
			case "reserve":
				model.reserve(t, stock, items, n)
			case "ship":
				if order, ok := model.oldest(); ok {
					_, shipped := stock.Ship(model.holding[order], causeOf(order))
					require.True(t, shipped, "what was promised from the shelf is on the shelf")
					delete(model.holding, order)
				}
			case "release":
				if order, ok := model.oldest(); ok {
					stock.GiveBack(model.holding[order], inventory.KindRelease, causeOf(order))
					for _, l := range model.holding[order] {
						model.free[l.SKU] += l.Qty
					}
					delete(model.holding, order)
				}
			}
		}
		checkBooks(t, shelves, stock)
	})
}

func (m *world) oldest() (order int, ok bool) {
	if len(m.holding) == 0 {
		return 0, false
	}
	return slices.Min(slices.Collect(maps.Keys(m.holding))), true
}

func (m *world) reserve(t *rapid.T, stock *inventory.Stock, items map[inventory.SKU]inventory.Item, order int) {
	var wants []inventory.Want
	wanted := make(map[inventory.SKU]int64)
	for i := range rapid.IntRange(1, 4).Draw(t, "lines") {
		w := inventory.Want{
			OrderLineID: fmt.Sprint(i),
			SKU:         rapid.SampledFrom([]inventory.SKU{"MUG", "PEN", "INK"}).Draw(t, "sku"),
			Quantity:    rapid.Int64Range(1, 8).Draw(t, "quantity"),
		}
		wants = append(wants, w)
		wanted[w.SKU] += w.Quantity
	}
	fits := true
	for sku, n := range wanted {
		fits = fits && n <= m.free[sku]
	}
	shipTo := rapid.SampledFrom([]string{"DE", "FR", "PL"}).Draw(t, "ship_to")
	lines, refusal := stock.Reserve(wants, items, shipTo, causeOf(order))
	require.Equal(t, fits, refusal == nil, "all or nothing, by totals: %v", refusal)
	if refusal != nil {
		return
	}
	perLine := make(map[string]int64)
	for _, l := range lines {
		require.Positive(t, l.Qty)
		require.Equal(t, items[l.SKU].ItemID, l.ItemID)
		perLine[l.OrderLineID] += l.Qty
		m.free[l.SKU] -= l.Qty
	}
	for _, w := range wants {
		require.Equal(t, w.Quantity, perLine[w.OrderLineID], "every line in full")
	}
	m.holding[order] = lines
}

// checkBooks says of every level: nothing below zero or promised beyond it, versions without a gap, one movement a
// version, each following from the one before, and the last one is the level.
func checkBooks(t require.TestingT, before []inventory.Shelf, stock *inventory.Stock) {
	last := make(map[inventory.LevelKey]inventory.Level)
	for _, s := range before {
		last[s.LevelKey] = s.Level
	}
	for _, m := range stock.Movements() {
		l := last[m.LevelKey]
		l.Version++
		l.OnHand += m.Delta.OnHand
		l.Reserved += m.Delta.Reserved
		require.Equal(t, l.Version, m.Version)
		require.Equal(t, inventory.Delta{OnHand: l.OnHand, Reserved: l.Reserved}, m.After)
		require.GreaterOrEqual(t, l.Reserved, int64(0))
		require.LessOrEqual(t, l.Reserved, l.OnHand)
		last[m.LevelKey] = l
	}
	for _, s := range before {
		now, ok := stock.Level(s.LevelKey)
		require.True(t, ok)
		require.Equal(t, last[s.LevelKey], now)
	}
	for _, l := range stock.Changed() {
		require.NotEqual(t, stock.Loaded(l.LevelKey), l.Version)
	}
}
