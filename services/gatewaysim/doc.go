// Package gatewaysim is a card gateway for development and tests: a real HTTP server with state, a ledger of its
// own and faults on demand. It speaks a subset of Stripe's payment API (JSON bodies instead of forms), close enough
// that the payment service's adapter could be pointed at a real provider.
//
// Its ledger is the ground truth: whether money was blocked, charged or given back is what GET /admin/ledger says,
// whatever the platform believes. With Config.LedgerPath the ledger is a file of JSON lines, one line a request that
// changed anything, written before the answer is sent; everything is rebuilt from it at the next start, saved
// answers included, so the simulator may be killed at any moment.
//
// # The API
//
// Amounts are minor units of an ISO 4217 currency. Currency codes are lower case in answers, as at Stripe, and may
// be of either case in requests. Unknown fields in a body are refused. Every answer carries a Request-Id header.
// With Config.APIKey set, requests need "Authorization: Bearer <key>".
//
//	POST /v1/payment_intents                 {"amount":1999, "currency":"eur", "capture_method":"manual",
//	                                          "payment_method":"tok_visa",
//	                                          "metadata":{"order_id":"...", "operation_id":"..."}}
//	POST /v1/payment_intents/{id}/confirm    {"payment_method":"tok_visa"}         body optional
//	POST /v1/payment_intents/{id}/capture    {"amount_to_capture":1999}            body optional: default the whole
//	POST /v1/payment_intents/{id}/cancel     {"cancellation_reason":"abandoned"}   body optional
//	GET  /v1/payment_intents/{id}
//	GET  /v1/payment_intents?order_id=&operation_id=&limit=&starting_after=        newest first
//	POST /v1/refunds                         {"payment_intent":"pi_...", "amount":500, "reason":"...",
//	                                          "metadata":{"operation_id":"..."}}   amount optional: all that is left
//	GET  /v1/refunds/{id}
//	GET  /v1/refunds?payment_intent=&limit=&starting_after=                        newest first
//
// Every body may carry "metadata" (strings only); an operation_id in it is written to the ledger entry of that
// request, otherwise the intent's own is. capture_method is "manual" only, and is the default. A created intent is
// unconfirmed: nothing is blocked yet, so an intent created twice costs nothing.
//
// All five intent calls answer 200 with the intent:
//
//	{"id":"pi_...", "object":"payment_intent", "amount":1999, "currency":"eur", "capture_method":"manual",
//	 "status":"requires_capture", "amount_capturable":1999, "amount_received":0, "amount_refunded":0,
//	 "payment_method":"tok_visa", "metadata":{...}, "created":1790000000,
//	 "latest_charge":"ch_..." | null,          // set once an amount was blocked
//	 "capture_before":1790604800 | null,       // unix seconds; the authorization is gone after it
//	 "canceled_at":null, "cancellation_reason":null,    // "automatic" when the authorization expired
//	 "last_payment_error":null | {"type":"card_error","code":"card_declined","decline_code":"...","message":"..."}}
//
// status is one of
//
//	requires_payment_method   no payment method yet, or the last one was declined: see last_payment_error
//	requires_confirmation     ready to be confirmed
//	requires_capture          the amount is blocked (authorized)
//	succeeded                 captured; what was not captured is released
//	canceled                  voided, or expired (cancellation_reason "automatic")
//
// A refund is {"id":"re_...", "object":"refund", "amount":500, "currency":"eur", "payment_intent":"pi_...",
// "status":"succeeded", "reason":null, "metadata":{...}, "created":1790000000}. Lists are
// {"object":"list", "data":[...], "has_more":false}.
//
// # Errors
//
//	{"error":{"type":"...", "code":"...", "decline_code":"...", "message":"...", "param":"...",
//	          "payment_intent":{...}}}
//
//	HTTP  type                   code                             when
//	400   invalid_request_error  parameter_missing|_invalid|_unknown   the body or query is wrong; param names it
//	400   invalid_request_error  resource_missing                 no such payment_method token
//	400   invalid_request_error  payment_intent_unexpected_state  the intent is not in a state for this call;
//	                                                              payment_intent is the truth
//	400   invalid_request_error  charge_expired_for_capture       the authorization expired; payment_intent is canceled
//	400   invalid_request_error  amount_too_large                 capture over the authorized amount, refund over
//	                                                              what is left
//	400   invalid_request_error  charge_already_refunded          nothing is left to refund
//	400   idempotency_error      idempotency_key_reused           same key, other request
//	401   invalid_request_error  api_key_invalid                  Config.APIKey is set and was not given
//	402   card_error             card_declined                    decline_code generic_decline | insufficient_funds
//	402   card_error             authentication_required          the customer would have to confirm the payment
//	404   invalid_request_error  resource_missing                 no such intent or refund
//	409   idempotency_error      idempotency_key_in_use           a request with this key is still being worked on
//	413   invalid_request_error  body_too_large                   the body is over 256 KiB
//	429   api_error              rate_limit                       by fault only
//	500   api_error              api_error                        by fault only; the outcome is unknown
//	503   api_error              service_unavailable              by fault or outage; nothing was done
//
// # Idempotency
//
// A POST with an Idempotency-Key (1 to 255 characters) is done once: the same key with the same path and body gets
// the first answer again, byte for byte, with the header "Idempotent-Replayed: true". Everything that was begun is
// saved, refusals and 500s included; 401, 404, 409, 429, 503 and parameter errors are not. Keys live for
// Config.KeyTTL (24 h). A POST without a key is done every time it arrives.
//
// # Faults by payment token
//
// The table is in trigger.go; a token that is not in it is refused with resource_missing. After the fault the intent
// is like any other: GET tells the truth (tok_unknown_long: in a while).
//
//	tok_visa, tok_mastercard, tok_ok   everything works
//	tok_declined                 confirm is declined: card_declined, generic_decline
//	tok_insufficient_funds       confirm is declined: card_declined, insufficient_funds
//	tok_authentication_required  confirm is declined: authentication_required
//	tok_answer_lost              confirm is done, its answer is lost; a repeat with the same key is answered
//	tok_answer_lost_N            the same, and the answers to the first N confirms are lost (N up to 99)
//	tok_unknown_long             confirm is done; every answer about the intent is lost for Config.UnknownFor
//	tok_late_effect              confirm hangs and is done only after Config.LateDelay, even if the caller has left
//	tok_500_saved                confirm is done, the answer is 500, and is saved under the key: only GET tells
//	tok_slow                     confirm is done at once, its answer comes after Config.SlowDelay
//	tok_capture_answer_lost      capture is done, its answer is lost
//	tok_capture_late             capture hangs and is done only after Config.LateDelay
//	tok_capture_500_saved        capture is done, the answer is 500, and is saved under the key
//	tok_capture_declined         capture is declined: card_declined, generic_decline; the amount stays blocked
//	tok_auth_expires             the authorization expires before capture: charge_expired_for_capture
//	tok_void_answer_lost         cancel is done, its answer is lost
//	tok_void_late                cancel hangs and is done only after Config.LateDelay
//	tok_refund_answer_lost       the refund is done, its answer is lost
//
// A lost answer is a connection closed after a few bytes of a status line. The bytes matter: on a reused connection
// that closes without one, Go's http.Transport sends a request with an Idempotency-Key again by itself, and the
// caller would never see the fault.
//
// # Admin API
//
// Not part of the provider's API, never subject to faults, outage or APIKey:
//
//	GET    /admin/ledger?order_id=   [{"seq":1, "at":"2026-01-02T03:04:05.678Z", "kind":"authorize",
//	                                   "intent":"pi_...", "refund":"re_...", "order_id":"...", "operation_id":"...",
//	                                   "idempotency_key":"...", "amount":1999, "currency":"EUR"}, ...]
//	       ?after=A&to=B             the same, of the order_ids after A up to B in the order of their texts
//	GET    /admin/totals             {"intents":{"requires_capture":1, ...}, "currencies":[{"currency":"EUR",
//	                                   "authorized":1999, "captured":0, "voided":0, "released":0, "expired":0,
//	                                   "refunded":0, "held":1999}]}
//	GET    /admin/faults             [{...}]
//	PUT    /admin/faults             {"route":"confirm", "kind":"drop_after", "count":1, "probability":0.5,
//	                                  "delay_ms":200}     sets the rule of this route and kind
//	DELETE /admin/faults             forgets all rules
//	PUT    /admin/outage             {"on":true, "mode":"close"}    mode close (default) or status_503
//	GET    /admin/webhooks           {"waiting":0, "postponed":0, "delivered":7, "failed":0, "dropped":0, "given_up":0}
//	GET    /livez, /readyz           200
//
// Entry kinds: authorize, capture, release (the part of an authorization that its capture left over), void, expire,
// refund. held = authorized - captured - released - voided - expired.
//
// Routes: create, confirm, capture, cancel, refund, get, list, or * for all. Kinds:
//
//	drop_before   close the connection, nothing is done
//	status_503    answer 503, nothing is done
//	status_429    answer 429 with Retry-After, nothing is done
//	late_effect   wait delay_ms, then do it, even if the caller has left
//	decline       answer 402 card_declined (confirm and capture only)
//	status_500    do it, answer 500, saved under the key
//	delay         do it, answer after delay_ms
//	drop_after    do it, close the connection
//
// count is how often the rule strikes (0: until it is removed), probability how likely each time (0 means always).
//
// # Webhooks
//
// With Config.WebhookURL every outcome is told to that address too, signed in the form of Standard Webhooks (package
// webhook), Config.WebhookDelay after it happened, until the receiver says 2xx, for 72 hours, in no order:
//
//	{"id":"evt_...", "object":"event", "type":"payment_intent.succeeded", "created":1790000000,
//	 "data":{"object":{the intent or refund as it was then}}}
//
// Types: payment_intent.amount_capturable_updated (authorized), .payment_failed (declined), .succeeded (captured),
// .canceled (voided or expired), and refund.created. Events follow from the ledger and carry the same ids after a
// restart; which of them are delivered is kept in a second file, LedgerPath with ".webhooks". Tokens and outage do not
// concern them. The fault route webhook does (it is not part of *), with kinds of its own:
//
//	drop        never send it
//	late        send it delay_ms later
//	duplicate   send it twice
//	reorder     send it after the next one, or after delay_ms (default 2 s) if none comes
package gatewaysim
