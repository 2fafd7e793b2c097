package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"recourse.dev/pkg/pg"
)

// Receipt is goods that came in, all of it booked or none.
type Receipt struct {
	Lines  []ReceiptLine
	Reason string
	Actor  string
}

// ReceiptLine is a quantity of one item at one location.
type ReceiptLine struct {
	Place
	Quantity int64
}

// Place names a level as people do.
type Place struct {
	SKU      SKU
	Location string
}

// Adjustment corrects one level: Count says what is there, Delta by how much the book was wrong. One of them is set.
type Adjustment struct {
	Place
	Count  *int64
	Delta  *int64
	Reason string
	Actor  string
}

// Booking is what a request by hand moved, now or when it came for the first time.
type Booking struct {
	CauseID   uuid.UUID
	Movements []MovementRow
	// Shortages are the levels of the request that now hold less than is promised.
	Shortages []LevelRow
}

// Fault says what of a request is to blame: a problem code, a JSON pointer into its body, and a sentence.
type Fault struct {
	Code    string
	Pointer string
	Detail  string
}

func (f *Fault) Error() string { return fmt.Sprintf("%s at %q: %s", f.Code, f.Pointer, f.Detail) }

// Codes of faults, beside CodeUnknownSKU.
const (
	CodeUnknownLocation  = "unknown_location"
	CodeUntrackedItem    = "untracked_item"
	CodeStockBelowZero   = "stock_below_zero"
	CodeIdempotencyReuse = "idempotency_key_reused"
	CodeCountOrDelta     = "count_or_delta"
)

// causeNamespace makes the cause of a request out of its Idempotency-Key.
var causeNamespace = uuid.MustParse("7d3a1f7e-5f0c-4f5d-9a53-0f6c3f0b8a11")

// receive books goods that came in, once per key.
func receive(ctx context.Context, pool *pgxpool.Pool, key string, r Receipt, now time.Time) (Booking, error) {
	places := make([]Place, len(r.Lines))
	for i, l := range r.Lines {
		places[i] = l.Place
	}
	cause := Cause{CauseID: causeOfKey(key), Reason: r.Reason, Actor: r.Actor, At: instant(now)}
	pointer := func(i int) string { return fmt.Sprintf("/lines/%d", i) }
	req := request{KindReceive, key, r, places, pointer}
	return book(ctx, pool, req, cause, func(stock *Stock, keys []LevelKey) error {
		sums := make(map[LevelKey]int64, len(keys))
		for i, l := range r.Lines {
			sums[keys[i]] += l.Quantity
		}
		for _, k := range keys { // in the order of the request; a level that is named twice moves once
			if n := sums[k]; n > 0 {
				stock.Move(k, KindReceive, Delta{OnHand: n}, cause)
				delete(sums, k)
			}
		}
		return nil
	})
}

// adjust corrects a level, once per key. A count that the book agrees with moves nothing.
func adjust(ctx context.Context, pool *pgxpool.Pool, key string, a Adjustment, now time.Time) (Booking, error) {
	if (a.Count == nil) == (a.Delta == nil) {
		return Booking{}, &Fault{CodeCountOrDelta, "", "give exactly one of count and delta"}
	}
	cause := Cause{CauseID: causeOfKey(key), Reason: a.Reason, Actor: a.Actor, At: instant(now)}
	pointer := func(int) string { return "" }
	req := request{KindAdjust, key, a, []Place{a.Place}, pointer}
	return book(ctx, pool, req, cause, func(stock *Stock, keys []LevelKey) error {
		level, _ := stock.Level(keys[0])
		var d int64
		if a.Count != nil {
			d = *a.Count - level.OnHand
		} else {
			d = *a.Delta
		}
		if level.OnHand+d < 0 {
			return &Fault{
				CodeStockBelowZero, "/delta",
				fmt.Sprintf("%d of %s are at %s; a delta of %d takes more", level.OnHand, a.SKU, a.Location, d),
			}
		}
		if d != 0 {
			stock.Move(keys[0], KindAdjust, Delta{OnHand: d}, cause)
		}
		return nil
	})
}

// request is what receive and adjust have in common.
type request struct {
	kind    Kind
	key     string
	body    any
	places  []Place
	pointer func(place int) string
}

// book runs a request in one transaction: claim the key, find the levels, lock them, move, save, and read back what the
// ledger says. A repeat finds the key taken, moves nothing and reads the same rows back. A request that fails claims
// nothing, so it can be mended and sent again under its key.
func book(
	ctx context.Context, pool *pgxpool.Pool, r request, cause Cause, move func(*Stock, []LevelKey) error,
) (Booking, error) {
	hash, err := r.hash()
	if err != nil {
		return Booking{}, err
	}
	return pg.InTxV(ctx, pool, func(tx pgx.Tx) (Booking, error) {
		first, err := claimRequest(ctx, tx, r, hash, cause)
		if err != nil {
			return Booking{}, err
		}
		if first {
			if err := moveByHand(ctx, tx, r, move); err != nil {
				return Booking{}, err
			}
		}
		return selectBooking(ctx, tx, cause.CauseID)
	})
}

func moveByHand(ctx context.Context, tx pgx.Tx, r request, move func(*Stock, []LevelKey) error) error {
	keys, err := findLevels(ctx, tx, r)
	if err != nil {
		return err
	}
	stock, err := lockStock(ctx, tx, nil, keys)
	if err != nil {
		return err
	}
	if err := move(stock, keys); err != nil {
		return err
	}
	return save(ctx, tx, changes{stock: stock})
}

// findLevels turns names into levels, and makes those that are not there yet.
func findLevels(ctx context.Context, tx pgx.Tx, r request) ([]LevelKey, error) {
	skus, codes := make([]SKU, len(r.places)), make([]string, len(r.places))
	for i, p := range r.places {
		skus[i], codes[i] = p.SKU, p.Location
	}
	items, err := itemsBySKU(ctx, tx, skus)
	if err != nil {
		return nil, err
	}
	locations, err := locationsByCode(ctx, tx, codes)
	if err != nil {
		return nil, err
	}
	keys := make([]LevelKey, len(r.places))
	for i, p := range r.places {
		item, known := items[p.SKU]
		location, placed := locations[p.Location]
		switch {
		case !known:
			return nil, &Fault{CodeUnknownSKU, r.pointer(i) + "/sku", fmt.Sprintf("%s is not in the catalogue", p.SKU)}
		case !item.Tracked:
			return nil, &Fault{
				CodeUntrackedItem, r.pointer(i) + "/sku",
				fmt.Sprintf("%s has no stock: it is not tracked", p.SKU),
			}
		case !placed:
			return nil, &Fault{
				CodeUnknownLocation, r.pointer(i) + "/location",
				fmt.Sprintf("there is no location %s", p.Location),
			}
		}
		keys[i] = LevelKey{ItemID: item.ItemID, LocationID: location}
	}
	return keys, ensureLevels(ctx, tx, keys)
}

// hash tells a repeat from another request under the same key.
func (r request) hash() ([]byte, error) {
	text, err := json.Marshal(struct {
		Kind Kind
		Body any
	}{r.kind, r.body})
	if err != nil {
		return nil, fmt.Errorf("hashing a %s request: %w", r.kind, err)
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}

func causeOfKey(key string) uuid.UUID { return uuid.NewSHA1(causeNamespace, []byte(key)) }
