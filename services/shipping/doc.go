// Package shipping is the participant that books the carrier: it buys one label for an order and voids it when the
// order is undone.
//
// # Who says what
//
// Commands come from the order's saga, over pkg/worker: CreateShipment and its undo CancelShipment (handler.go). The
// carrier is asked over the port in carrier.go; carrier_http.go speaks to a real one, or to the simulator. What is
// known is in this service's own database (store.go, store_query.go), and the rules are pure (shipment.go). The API
// (routes.go) only reads.
//
// # One label
//
// A label costs money, and the carrier's API has no idempotency key. What keeps a second label from coming about:
//
//   - The database: a package has one label that is not proven absent, an order one shipment that is not over, and
//     whatever is over must not leave a live label behind.
//   - The order of things: the row of the operation is there before anything is sent. A booking, which is free, is
//     made first; which booking the label is bought for is stored before it is bought; a booking has one label at the
//     carrier.
//   - An answer that is missing is no answer: the label is in the state unknown until the carrier proves what is the
//     case, however long that takes. The resolver of pkg/worker asks again.
//
// # The way of a command
//
//	CreateShipment  prepare  shipment, items, package, label requested, operation    one transaction for the batch
//	                call     booking; intent with the booking's id; purchase         one conversation each
//	                settle   label purchased, refused or unknown                     one transaction for all answers
//	CancelShipment  prepare  label void_requested, operation                         one transaction for the batch
//	                call     intent; refund                                          one conversation each
//	                settle   label voided, void_rejected or still void_requested     one transaction for all answers
//
// A void that the carrier rejects leaves the label live: the undo is refused with void_rejected, a person decides, and
// the next undo asks the carrier again.
package shipping
