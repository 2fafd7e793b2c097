// Package coordinator runs the sagas of orders.
//
// An order comes in at POST /v1/orders (submit.go). It is checked (package order), stored with its saga in one
// transaction (accept.go), and answered after the commit. What happens to it from then on are events, and they come
// through three doors:
//
//   - replies.go: what participants answer over Kafka;
//   - timers.go: what the clock says, from the alarms in alarm.go;
//   - intake.go: what customers and operators want, over REST.
//
// All of them go through the one write path in engine.go: find the sagas of a batch in this process's hand (hand.go) or in
// the database, let package saga decide about each event, write states, history and domain events in one round trip if
// nobody else has written meanwhile (write.go), and only then send commands (dispatch.go) and events (outbox.go). A batch
// of two hundred events takes as many statements as a batch of one.
//
// # Why nothing is lost
//
// PostgreSQL is the only truth. An issued step in a saga's row is the intent to send its command: if the process dies
// between the commit and the send, or the broker loses the record, the step's timer sends it again, and participants
// answer a repeat with the reply that they stored. Offsets are committed after the transaction, so a reply may be seen
// twice and is never missed; the second time it changes nothing. The timers themselves are a cache of the column
// next_due, read again on every assignment of partitions and every SCAN_INTERVAL.
//
// # Several coordinators
//
// They share the database and a consumer group. Who writes a saga first wins; the other one reads and
// decides again. Whoever owns a Kafka
// partition watches the timers of its orders; whoever wrote a saga last watches it too, which costs a look in vain and
// nothing else. Watchers of an order (watch.go) hear of another coordinator's writes by polling.
//
// # What is left alone
//
// A saga keeps the hash of the definition that it began with. A coordinator that does not know the hash neither writes
// nor answers for that saga; one that does will, by its timers.
package coordinator
