// Package deadletter keeps the records that could not be applied, so that nothing is dropped.
//
// A record that cannot be decoded, or that makes a handler panic, would stop its partition for ever if it were retried
// and would be lost if it were skipped. It is parked: its bytes, key, headers and place go into a row of the service's
// own database, in the same transaction as the rest of its batch, and the partition goes on. An operator sees the row
// (List, Get), mends the cause and redrives it: Redrive writes the record to its topic again as it was. A letter that no
// redriving helps, such as garbage that somebody wrote to a topic, is dismissed with a reason. What is neither is open, and
// RegisterOpen shows how many are.
//
// What is parked is what the record itself is to blame for. A database or broker that is away is nobody's fault and
// never parks anything.
//
// Parking twice is harmless, because a batch is read again after a crash. A row is known by topic, partition, offset and
// the record's own time; the time is in it because a topic that was wiped and made anew starts at offset 0 again, and a
// new record at an old place is new evidence.
//
// The table is the same in every service's database; DDL, PruneDDL and DismissDDL are its text, and each service's
// migrations repeat it. So are the routes by which an operator comes to it: View and Problem are their answers.
package deadletter
