// Package webhook signs, sends and verifies webhooks: the messages by which a provider tells that something has
// happened at its side.
//
// The form is that of Standard Webhooks 1.0. A message has an id, which is the same in every try, the time of the try,
// and a body; signed are "id.timestamp.body" with HMAC-SHA256:
//
//	webhook-id: evt_01j...
//	webhook-timestamp: 1790000000
//	webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//
// The header may hold several signatures, separated by spaces, and a receiver may know several keys: either end can
// begin with a new key while the other still has the old one.
//
// # What a receiver may believe
//
// A signature proves who wrote the message, and not that it is news: messages come late, twice, in another order, or
// never. So a receiver stores the message, answers, and asks the provider what is true; package inbox does that. The
// tolerance of Verify keeps a message that was recorded on its way from being played back later; within it, the id
// tells the repeat.
package webhook
