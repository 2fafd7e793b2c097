package inventory

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rows turned into columns, the shape that unnest takes. StrictNamedArgs refuses an argument that the statement does
// not name, so an insert gets more columns than an update.

func reservationArgs(holdings []*Holding, insert bool) pgx.StrictNamedArgs {
	n := len(holdings)
	ids, orders, sagas := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
	purposes, states, countries := make([]string, n), make([]State, n), make([]string, n)
	created, expires, decided := make([]time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	deciders, reasons := make([]*uuid.UUID, n), make([]string, n)
	for i, h := range holdings {
		ids[i], orders[i], sagas[i] = h.ReservationID, h.OrderID, h.SagaID
		purposes[i], states[i], countries[i] = h.Purpose, h.State, h.ShipToCountry
		created[i], expires[i], decided[i] = h.CreatedAt, h.ExpiresAt, h.DecidedAt
		deciders[i], reasons[i] = h.DecidedBy, h.Reason
	}
	args := pgx.StrictNamedArgs{
		"ids": ids, "states": states, "decided": decided, "deciders": deciders, "reasons": reasons,
	}
	if insert {
		args["orders"], args["sagas"], args["purposes"] = orders, sagas, purposes
		args["countries"], args["expires"], args["created"] = countries, expires, created
	}
	return args
}

func lineArgs(holdings []*Holding, insert bool) pgx.StrictNamedArgs {
	var (
		ids, items, locations   []uuid.UUID
		orderLines              []string
		qtys, shipped, released []int64
	)
	for _, h := range holdings {
		for _, l := range h.Lines {
			ids, items, locations = append(ids, h.ReservationID), append(items, l.ItemID), append(locations, l.LocationID)
			orderLines = append(orderLines, l.OrderLineID)
			qtys, shipped, released = append(qtys, l.Qty), append(shipped, l.Shipped), append(released, l.Released)
		}
	}
	args := pgx.StrictNamedArgs{
		"ids": ids, "order_lines": orderLines, "locations": locations, "shipped": shipped, "released": released,
	}
	if insert {
		args["items"], args["qtys"] = items, qtys
	}
	return args
}

func levelArgs(levels []Level, stock *Stock) pgx.StrictNamedArgs {
	n := len(levels)
	items, locations := make([]uuid.UUID, n), make([]uuid.UUID, n)
	onHand, reserved, unavailable := make([]int64, n), make([]int64, n), make([]int64, n)
	shortage, version, loaded := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, l := range levels {
		items[i], locations[i] = l.ItemID, l.LocationID
		onHand[i], reserved[i], unavailable[i] = l.OnHand, l.Reserved, l.Unavailable
		shortage[i], version[i], loaded[i] = l.Shortage, l.Version, stock.Loaded(l.LevelKey)
	}
	return pgx.StrictNamedArgs{
		"items": items, "locations": locations, "on_hand": onHand, "reserved": reserved,
		"unavailable": unavailable, "shortage": shortage, "version": version, "loaded": loaded,
	}
}

func movementArgs(movements []Movement) pgx.StrictNamedArgs {
	n := len(movements)
	items, locations, causes := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
	versions, kinds := make([]int64, n), make([]Kind, n)
	dOnHand, dReserved, dUnavailable := make([]int64, n), make([]int64, n), make([]int64, n)
	onHand, reserved, unavailable := make([]int64, n), make([]int64, n), make([]int64, n)
	reasons, actors, at := make([]string, n), make([]string, n), make([]time.Time, n)
	for i, m := range movements {
		items[i], locations[i], causes[i] = m.ItemID, m.LocationID, m.CauseID
		versions[i], kinds[i] = m.Version, m.Kind
		dOnHand[i], dReserved[i], dUnavailable[i] = m.Delta.OnHand, m.Delta.Reserved, m.Delta.Unavailable
		onHand[i], reserved[i], unavailable[i] = m.After.OnHand, m.After.Reserved, m.After.Unavailable
		reasons[i], actors[i], at[i] = m.Reason, m.Actor, m.At
	}
	return pgx.StrictNamedArgs{
		"items": items, "locations": locations, "versions": versions, "kinds": kinds,
		"d_on_hand": dOnHand, "d_reserved": dReserved, "d_unavailable": dUnavailable,
		"on_hand": onHand, "reserved": reserved, "unavailable": unavailable,
		"causes": causes, "reasons": reasons, "actors": actors, "at": at,
	}
}
