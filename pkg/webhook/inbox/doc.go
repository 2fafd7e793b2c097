// Package inbox takes a provider's webhooks in, keeps them, and lets them do the one thing that they may: make a
// question about an effect in doubt due at once.
//
// What a webhook says is never taken for the truth. It may be late, doubled, overtaken by another one, or about
// something that this service has never asked for; and its object is what it was, not what it is. The truth about an
// effect is the answer that the provider gives to the worker's own question, and an event only decides when that is
// asked: now, and not at the next appointment. Without any webhook everything ends the same way, later.
//
//	POST -> signature, time -> which effects in doubt is it about? -> Worker.Wake
//	     -> stored, one row for each id, which says what came of it -> 2xx                      Receive
//	row without an outcome -> the same again                                                    Run
//
// A row that is about an effect whose call is on its way waits until that has come back: the answer on its way may be
// older than the event. What a row came to is its outcome:
//
//	woke      an effect was in doubt, and its question was made due
//	settled   the object is known here and nothing about it was in doubt
//	unknown   nothing here belongs to the object; kept as evidence
//
// The table is the same in every service's database that has an inbox; DDL is its text.
package inbox

// DDL is the table, word for word as it stands in the services' migrations.
const DDL = `CREATE TABLE webhook_event (
    source       text        NOT NULL,
    event_id     text        NOT NULL,
    type         text        NOT NULL,
    -- The provider's name of the object, and ours as the provider repeats it.
    object_ref   text        NOT NULL,
    reference    text        NOT NULL,
    created_at   timestamptz NOT NULL,
    payload      bytea       NOT NULL,
    received_at  timestamptz NOT NULL,
    outcome      text        CHECK (outcome IN ('woke', 'settled', 'unknown')),
    processed_at timestamptz,
    PRIMARY KEY (source, event_id),
    CHECK ((outcome IS NULL) = (processed_at IS NULL))
);

CREATE INDEX webhook_event_open ON webhook_event (received_at) WHERE processed_at IS NULL;
CREATE INDEX webhook_event_received ON webhook_event (received_at, event_id);
CREATE INDEX webhook_event_object ON webhook_event (object_ref, received_at);
`
