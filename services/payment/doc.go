// Package payment is the payment participant: it blocks an order's money on the customer's payment method, charges it
// at the pivot of the saga, or gives it back, by asking a payment provider over HTTP.
//
// # The rule that everything here serves
//
// A timeout is a lack of knowledge. Between "asked" and "answered" the process may die, the connection may break and
// the provider may do the work late, so nothing is ever concluded from silence: an operation is succeeded with the
// provider's proof, failed with the provider's no, or unknown and being asked about. A repeat carries the idempotency
// key of the first request and is therefore no second request.
//
// # An operation, step by step
//
//	authorize   POST create (an unconfirmed intent costs nothing), POST confirm
//	capture     POST capture; no undo, it is the pivot
//	void        POST cancel; the undo of authorize
//
//	Prepare   one transaction for all commands of a poll: the operation, the requests about to be sent (attempts
//	          without an outcome), and the headroom it needs (capture_pending). Two captures of one authorization
//	          cannot both start, even while the first is unknown.
//	Call      the requests. What came back is kept in memory; if the process dies here, the open attempts say
//	          "may have been sent".
//	Settle    one transaction for all calls that have come back: operation, intent, attempts, journal.
//
// An operation in doubt is probed, with growing delays: GET the intent, or list the order's intents when the answer to
// create was lost. What is found there is the truth. If nothing is found the same request is sent again under the same
// key, but not before the effect had time to show (Policy.Visibility) and never when the provider may have forgotten
// the key (Policy.KeyLife): then the operation is "manual", it is only asked about, and GET /v1/operations?state=manual
// shows it to a person.
//
// # What the provider's answers mean
//
//	402                                      refused: declined (card_declined, insufficient_funds)
//	400 charge_expired_for_capture           refused: expired (authorization_expired)
//	400 no such payment method               refused: invalid (invalid_payment_method)
//	400 payment_intent_unexpected_state      the intent in the answer tells
//	400 other invalid_request_error          refused: bug (provider_rejected); nothing was done
//	400 idempotency_error                    unknown: another request had this key, and may have had the effect
//	401, 403                                 unknown, and an alarm: metric recourse_payment_config_alarm and /readyz
//	409, 429                                 unknown: asked again under the same key
//	5xx, no answer, an answer beyond reading unknown
//	200 over another amount or state         unknown, for a person
//
// Only an adapter of Gateway may say Refused. The one here, HTTPGateway, speaks the payment-intent API that gatewaysim
// simulates.
//
// # The tables
//
// intent is one promise of money for one order, operation what was asked of the provider, attempt each HTTP exchange,
// journal each movement as a transfer between two accounts whose transaction is the operation itself, so that nothing
// is booked twice. The database alone refuses over-capture, over-refund, a success without proof, a failure without
// class, a second live intent of an order and an unbalanced or changed journal: see migrations/payment. The steps' own
// rows, the replies and the dead letters belong to pkg/worker.
//
// Card data is never stored: a token that looks like a card number is refused before anything is written, and the
// database would refuse it too.
//
// # The files
//
//	operation.go intent.go   pure rules: keys, time limits, headroom, the table of settlements
//	token.go                 what is refused without asking the provider
//	gateway.go               the port to a provider
//	gateway_http.go          the adapter: the conversation
//	gateway_wire.go          the adapter: what its answers mean, pure
//	handler.go               one function for each command and phase
//	call.go                  asking, probing, settling: the same for all kinds
//	store*.go                all SQL
//	routes.go                the API, which only reads
//	service.go config.go     the process
package payment
