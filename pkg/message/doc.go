// Package message is the one place where protobuf messages and Kafka records turn into each other.
//
// A record is a CloudEvent 1.0 in binary mode: the value is the protobuf message and nothing else, the envelope
// stands in headers.
//
//	ce_specversion    1.0
//	ce_id             UUIDv7, given once when the message is made; the name of the message as evidence
//	ce_type           full name of the message, for example recourse.inventory.v1.ReserveStock
//	ce_source         who wrote it, for example coordinator or participant/inventory
//	ce_subject        order id; also the record's key
//	ce_time           RFC 3339, UTC
//	ce_correlationid  saga id
//	ce_causationid    ce_id of the message that this one answers; may be missing
//	content-type      application/protobuf
//	traceparent       W3C trace context, written and read by the client's tracing hook, not here
//
// Decode finds the Go type by ce_type among the types linked into the program, so a reader must import the generated
// package of every message that it wants to understand. Everything that Decode refuses is an *Error with a Reason
// under which the record is parked; it never panics, whatever the bytes are. Text in the envelope goes to databases
// and logs later, so it is refused unless it is short, valid UTF-8 without control characters.
//
// Unknown fields of a known message are kept, so an older reader passes on what a newer writer said.
package message
