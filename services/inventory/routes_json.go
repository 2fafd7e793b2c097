package inventory

import (
	"recourse.dev/pkg/deadletter"
	inventoryapi "recourse.dev/schemas/gen/api/inventory"
)

// Rows turned into the API's types.

// each turns a slice; the result is never nil, so that an empty list is [] in JSON.
func each[From, To any](from []From, turn func(From) To) []To {
	to := make([]To, len(from))
	for i, f := range from {
		to[i] = turn(f)
	}
	return to
}

// or is the value of an optional field, or what stands for its absence.
func or[T any](value *T, absent T) T {
	if value == nil {
		return absent
	}
	return *value
}

func apiItem(i Item) inventoryapi.Item {
	item := inventoryapi.Item{ItemID: i.ItemID, Sku: string(i.SKU), Tracked: i.Tracked, CreatedAt: i.CreatedAt.UTC()}
	if i.GTIN != "" {
		item.Gtin = &i.GTIN
	}
	return item
}

func apiLocation(l Location) inventoryapi.Location {
	return inventoryapi.Location{
		LocationID: l.LocationID, Code: l.Code, Country: l.Country, Active: l.Active, Priority: l.Priority,
		CreatedAt: l.CreatedAt.UTC(),
	}
}

func apiLevel(l LevelRow) inventoryapi.Level {
	return inventoryapi.Level{
		Sku: string(l.SKU), Location: l.Location, OnHand: l.OnHand, Reserved: l.Reserved, Unavailable: l.Unavailable,
		Available: l.Available, BackorderLimit: l.BackorderLimit, Shortage: l.Shortage, Version: l.Version,
	}
}

func apiMovement(m MovementRow) inventoryapi.Movement {
	return inventoryapi.Movement{
		Sku: string(m.SKU), Location: m.Location, Version: m.Version, Kind: inventoryapi.MovementKind(m.Kind),
		DOnHand: m.DOnHand, DReserved: m.DReserved, DUnavailable: m.DUnavailable,
		OnHand: m.OnHand, Reserved: m.Reserved, Unavailable: m.Unavailable,
		CauseID: m.CauseID, Reason: m.Reason, Actor: m.Actor, At: m.At.UTC(),
	}
}

func apiReservation(r ReservationRow) inventoryapi.Reservation {
	reservation := inventoryapi.Reservation{
		ReservationID: r.ReservationID, OrderID: r.OrderID, SagaID: r.SagaID, Purpose: r.Purpose,
		State: inventoryapi.ReservationState(r.State), ShipToCountry: r.ShipToCountry, CreatedAt: r.CreatedAt.UTC(),
		DecidedBy: r.DecidedBy, Reason: r.Reason,
		Lines: each(r.Lines, func(l LineRow) inventoryapi.ReservationLine {
			return inventoryapi.ReservationLine{
				OrderLineID: l.OrderLineID, Sku: string(l.SKU), Location: l.Location, Quantity: l.Qty,
				Shipped: l.Shipped, Released: l.Released, Open: l.Open,
			}
		}),
	}
	if r.ExpiresAt != nil {
		at := r.ExpiresAt.UTC()
		reservation.ExpiresAt = &at
	}
	if r.DecidedAt != nil {
		at := r.DecidedAt.UTC()
		reservation.DecidedAt = &at
	}
	return reservation
}

func apiDeadLetter(l deadletter.Letter) inventoryapi.DeadLetter {
	return inventoryapi.DeadLetter(l.View())
}

func apiTotal(r TotalRow) inventoryapi.Total {
	return inventoryapi.Total{
		Sku: string(r.SKU),
		Levels: inventoryapi.LevelTotals{
			OnHand: r.LevelOnHand, Reserved: r.LevelReserved, Unavailable: r.LevelUnavailable, Available: r.LevelAvailable,
			Shortage: r.LevelShortage,
		},
		Ledger: inventoryapi.LedgerTotals{
			Received: r.Received, Returned: r.Returned, Adjusted: r.Adjusted, Transferred: r.Transferred,
			Shipped: r.ShippedEver, ReservedEver: r.ReservedEver, ReleasedEver: r.ReleasedEver, ExpiredEver: r.ExpiredEver,
			OnHand: r.LedgerOnHand, Reserved: r.LedgerReserved, Unavailable: r.LedgerUnavailable,
		},
		Reservations: inventoryapi.ReservationTotals{
			Held: r.Held, Committed: r.Committed, Shipped: r.Shipped, Released: r.Released,
		},
		Agree: r.Agree(),
	}
}
