package inventory

import (
	"regexp"
	"time"

	"github.com/google/uuid"
)

// SKU is a shop's name of an item: upper case, as the database's CHECK demands.
type SKU string

var skuShape = regexp.MustCompile(`^[A-Z0-9][A-Z0-9._-]{0,63}$`)

// Valid says whether the catalogue can have such an item at all.
func (s SKU) Valid() bool { return skuShape.MatchString(string(s)) }

// Item is something for sale.
type Item struct {
	ItemID uuid.UUID
	SKU    SKU
	// GTIN is the number under the bar code; empty when the item has none.
	GTIN string
	// Tracked is false for what has no stock, such as a gift card. It is never out of stock, and nothing of it is held.
	Tracked   bool
	CreatedAt time.Time
}

var countryShape = regexp.MustCompile(`^[A-Z]{2}$`)

// Location is a place where stock lies.
type Location struct {
	LocationID uuid.UUID
	Code       string
	// Country is ISO 3166-1 alpha-2. Orders that ship there are served from here first.
	Country string
	// Active is false for a place from which nothing new is promised.
	Active bool
	// Priority orders locations; the lower number is asked first.
	Priority  int32
	CreatedAt time.Time
}
