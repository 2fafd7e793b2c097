-- +goose Up

-- What the provider tells by itself; evidence, and a reason to ask. pkg/webhook/inbox owns it.
CREATE TABLE webhook_event (
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

-- +goose Down
DROP TABLE webhook_event;
