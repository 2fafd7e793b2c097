// Package carriersim is a parcel carrier for development and tests: a real HTTP server with state, a ledger of its
// own and faults on demand. It speaks a subset of EasyPost's shipment API, field names included, close enough that
// the shipping service's adapter could be pointed at a real provider.
//
// Labels cost money. The ledger is the ground truth of which were bought and which were refunded; GET /admin/ledger
// reads it. With Config.LedgerPath the ledger is a file of JSON lines, one line a request that changed anything,
// written before the answer is sent; everything is rebuilt from it at the next start, so the simulator may be killed
// at any moment.
//
// # The API
//
// Unknown fields in a body are refused. Every answer carries an X-Request-Id header. With Config.APIKey set, requests
// need HTTP basic authentication with the key as user name and no password, as at EasyPost.
//
//	POST /v1/shipments              {"reference":"<our shipment id>",
//	                                 "to_address":{"name":"", "street1":"", "street2":"", "city":"", "state":"",
//	                                               "zip":"", "country":"DE", "phone":"", "email":""},
//	                                 "parcel":{"weight":42.5},
//	                                 "items":[{"sku":"SKU-1", "quantity":2}]}
//	POST /v1/shipments/{id}/buy     {"rate":{"id":"rate_..."}}
//	POST /v1/shipments/{id}/refund  no body
//	GET  /v1/shipments/{id}
//	GET  /v1/shipments?reference=&page_size=&before_id=      newest first
//
// reference, to_address.name, street1, city, zip, country (two letters) and parcel.weight (ounces, above 0) are
// required; items are optional. Creating costs nothing. There are no idempotency keys, and, as at the provider, two
// shipments may carry one reference: when the answer to a create is lost, look the reference up before creating
// again. At most one label is bought for a shipment: a second buy is refused, so when the answer to a buy is lost,
// GET the shipment: tracking_code set means bought.
//
// create answers 201, everything else 200, with the shipment:
//
//	{"id":"shp_...", "object":"Shipment", "reference":"...", "status":"unknown" | "pre_transit" | "cancelled",
//	 "to_address":{...}, "parcel":{"weight":42.5}, "items":[...],
//	 "rates":[{"id":"rate_...", "carrier":"Simpost", "service":"Standard", "rate":"4.90", "currency":"EUR",
//	           "delivery_days":3}, ...],                     // cheapest first
//	 "selected_rate":null | {...},                           // set when bought
//	 "postage_label":null | {"id":"pl_...", "label_url":"http://.../labels/pl_....txt"},
//	 "tracking_code":null | "SIM...",
//	 "refund_status":null | "refunded" | "rejected",
//	 "created_at":"2026-01-02T03:04:05.678Z", "updated_at":"..."}
//
// status is unknown until a label is bought, then pre_transit, and cancelled when the label was refunded. A refused
// refund answers 200 with refund_status "rejected": the label is live and paid for. A provider may also say
// "submitted" (accepted, not settled yet); the simulator settles at once. A list is
// {"shipments":[...], "has_more":false}.
//
// # Errors
//
//	{"error":{"code":"...", "message":"...", "errors":[{"field":"to_address.zip", "message":"..."}]}}
//
//	HTTP  code                     when
//	400   bad_request              the body is not JSON, has unknown fields, or the query is wrong
//	401   unauthorized             Config.APIKey is set and was not given
//	404   not_found                no such shipment
//	413   body_too_large           the body is over 256 KiB
//	422   invalid_params           a field is missing or wrong: see errors
//	422   address_not_served       create: nobody delivers there
//	422   address_invalid          create: there is no such address
//	422   weight_limit             create: heavier than 1120 oz
//	422   rate_not_found           buy: the rate is not one of this shipment's
//	422   shipment_already_bought  buy: it has a label; also after a refund
//	422   shipment_not_bought      refund: there is no label
//	422   refund_not_allowed       refund: already refunded
//	429   rate_limited             by fault only
//	500   internal_error           by fault only; the outcome is unknown
//	503   service_unavailable      by fault or outage; nothing was done
//
// # Faults by address
//
// The table is in trigger.go. country and zip are compared as they are; any other address works.
//
//	country AQ            create is refused: address_not_served
//	zip 00000             create is refused: address_invalid
//	zip CREATE-LOST       create is done, its answer is lost
//	zip BUY-LOST          buy is done, its answer is lost; a repeat is refused as already bought
//	zip BUY-LATE          buy hangs and is done only after Config.LateDelay, even if the caller has left
//	zip BUY-500           buy is done, the answer is 500
//	zip BUY-REFUSED       buy is refused: address_not_served
//	zip REFUND-LOST       the refund is done, its answer is lost
//	zip REFUND-LATE       the refund hangs and is done only after Config.LateDelay
//	zip REFUND-REJECTED   every refund is rejected, the label stays live
//	zip SLOW              buy is done at once, its answer comes after Config.SlowDelay
//
// A lost answer is a connection closed after a few bytes of a status line, so that no HTTP client repeats the request
// by itself.
//
// # Admin API
//
// Not part of the provider's API, never subject to faults, outage or APIKey:
//
//	GET    /admin/ledger?reference=  [{"seq":1, "at":"2026-01-02T03:04:05.678Z", "kind":"label_bought",
//	                                   "shipment":"shp_...", "reference":"...", "tracking_code":"SIM...",
//	                                   "amount":490, "currency":"EUR"}, ...]
//	       ?after=A&to=B             the same, of the references after A up to B in the order of their texts
//	GET    /admin/totals             {"shipments":3, "labels_bought":2, "labels_refunded":1, "labels_live":1,
//	                                  "doubled_references":0, "currencies":[{"currency":"EUR", "bought":980,
//	                                  "refunded":490, "spent":490}]}
//	GET    /admin/faults             [{...}]
//	PUT    /admin/faults             {"route":"buy", "kind":"drop_after", "count":1, "probability":0.5,
//	                                  "delay_ms":200}     sets the rule of this route and kind
//	DELETE /admin/faults             forgets all rules
//	PUT    /admin/outage             {"on":true, "mode":"close"}    mode close (default) or status_503
//	GET    /admin/webhooks           {"waiting":0, "postponed":0, "delivered":7, "failed":0, "dropped":0, "given_up":0}
//	GET    /livez, /readyz           200
//
// doubled_references counts references with more than one live label: it should be zero.
//
// Routes: create, buy, refund, get, list, or * for all. Kinds:
//
//	drop_before   close the connection, nothing is done
//	status_503    answer 503, nothing is done
//	status_429    answer 429 with Retry-After, nothing is done
//	late_effect   wait delay_ms, then do it, even if the caller has left
//	decline       refuse it: create and buy address_not_served, refund rejected
//	status_500    do it, answer 500
//	delay         do it, answer after delay_ms
//	drop_after    do it, close the connection
//
// count is how often the rule strikes (0: until it is removed), probability how likely each time (0 means always).
//
// # Webhooks
//
// With Config.WebhookURL every label bought or refunded is told to that address too, signed in the form of Standard
// Webhooks (package webhook), Config.WebhookDelay after it happened, until the receiver says 2xx, for 72 hours, in no
// order:
//
//	{"id":"evt_...", "object":"Event", "description":"tracker.created", "created_at":"2026-01-02T03:04:05.678Z",
//	 "result":{"object":"Tracker", "shipment_id":"shp_...", "reference":"...", "tracking_code":"SIM...",
//	           "status":"pre_transit", "refund_status":null}}
//
// Descriptions: tracker.created (bought), refund.successful, refund.failed (rejected). Events follow from the ledger
// and carry the same ids after a restart; which of them are delivered is kept in a second file, LedgerPath with
// ".webhooks". Addresses and outage do not concern them. The fault route webhook does (it is not part of *), with kinds
// of its own:
//
//	drop        never send it
//	late        send it delay_ms later
//	duplicate   send it twice
//	reorder     send it after the next one, or after delay_ms (default 2 s) if none comes
package carriersim
