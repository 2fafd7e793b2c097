// Package inventory is the participant that knows what is for sale, where it lies and who was promised it.
//
// # What it holds
//
// A level is the stock of one item at one location: on hand, reserved, unavailable. A reservation is a promise of stock
// to an order, with a line for every location that gives something to an order line. Every change of a level is one
// movement in an append-only ledger, numbered by the level's version, so the level is the sum of its movements.
//
//	held ------> consumed      CommitStock: the goods leave
//	  |  \------> committed    CommitStock, but the goods are not there yet (backorder, shortage); consumed later
//	  |---------> released     ReleaseStock: the saga goes backward
//	  \---------> expired      the sweeper: the hold's time is over
//
// # Who keeps it right
//
// The rules are pure Go: stock.go (levels and movements), allocation.go (who gets what from where), reservation.go (the
// states above). handler.go answers sagas: it reads and locks for the whole batch, lets the rules decide order by order
// in record order, and saves what they decided with one statement per table, however long the batch is.
//
// The database says the same once more and has the last word, whoever writes (migrations/inventory): no level can be
// promised beyond what is there, change without its movement, or skip a version; history cannot be changed; an order
// has at most one live promise. So a bug here can stop an order, but not sell a thing twice.
//
// # Locks
//
// Reservation rows by id, then levels by (item, location), then inserts; for a poll with commands of several kinds once
// for all of them. The sweeper skips reservations that somebody has in hand; for one that it and a commit want, whoever
// locks the row first decides whether it is consumed or expired.
//
// # Counting
//
// What is counted wins over what was promised. A count below the promises is taken with the exact shortage, shown until
// goods come or holds go; nothing more is promised meanwhile, and commits wait for goods instead of shipping air.
//
// # Reading order
//
// config.go, service.go, stock.go, allocation.go, reservation.go, handler.go, sweeper.go, booking.go (receipts and
// adjustments over REST), store*.go (all SQL), routes*.go.
package inventory
