-- +goose Up

-- A shipment is what one effect key (saga, step, generation) booked at the carrier. At most one of an order is live.
CREATE TABLE shipment (
    shipment_id    uuid        PRIMARY KEY,
    order_id       uuid        NOT NULL,
    saga_id        uuid        NOT NULL,
    step           text        NOT NULL,
    generation     int         NOT NULL,
    reference      text        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('label_requested', 'label_unknown', 'labelled', 'refused',
                                                         'cancelling', 'cancel_rejected', 'cancelled')),
    name           text        NOT NULL,
    -- Lines of the street address, one a line.
    street         text        NOT NULL,
    city           text        NOT NULL,
    region         text        NOT NULL,
    postal_code    text        NOT NULL,
    country        char(2)     NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    carrier        text        CHECK (carrier <> ''),
    refusal_code   text        CHECK (refusal_code <> ''),
    refusal_detail text        NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    UNIQUE (saga_id, step, generation),
    CONSTRAINT refusal_has_code CHECK ((state = 'refused') = (refusal_code IS NOT NULL)),
    CONSTRAINT labelled_has_carrier
        CHECK (state NOT IN ('labelled', 'cancelling', 'cancel_rejected', 'cancelled') OR carrier IS NOT NULL)
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX one_live_shipment ON shipment (order_id) WHERE state NOT IN ('refused', 'cancelled');
CREATE INDEX shipment_by_order ON shipment (order_id);

CREATE TABLE shipment_item (
    shipment_id uuid   NOT NULL REFERENCES shipment,
    line_id     text   NOT NULL,
    sku         text   NOT NULL CHECK (sku <> ''),
    quantity    bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (shipment_id, line_id)
);

CREATE TABLE package (
    package_id  uuid   PRIMARY KEY,
    shipment_id uuid   NOT NULL REFERENCES shipment,
    seq         int    NOT NULL CHECK (seq > 0),
    weight_g    bigint NOT NULL CHECK (weight_g > 0),
    UNIQUE (shipment_id, seq)
);

-- A label costs money. What has been asked for and is not proven absent counts as live: a second one cannot be asked
-- for while the outcome of the first is unknown.
CREATE TABLE label (
    label_id        uuid        PRIMARY KEY,
    package_id      uuid        NOT NULL REFERENCES package,
    state           text        NOT NULL CHECK (state IN ('requested', 'unknown', 'purchased', 'refused',
                                                          'void_requested', 'void_rejected', 'voided')),
    -- The carrier's id of the shipment; stored before the label is bought, so that no other one is ever bought.
    carrier_ref     text        UNIQUE CHECK (carrier_ref <> ''),
    tracking_number text        CHECK (tracking_number <> ''),
    cost_minor      bigint      CHECK (cost_minor >= 0),
    currency        char(3)     CHECK (currency ~ '^[A-Z]{3}$'),
    updated_at      timestamptz NOT NULL,
    CONSTRAINT bought_has_proof CHECK (state NOT IN ('purchased', 'void_requested', 'void_rejected', 'voided')
        OR (carrier_ref IS NOT NULL AND tracking_number IS NOT NULL
            AND cost_minor IS NOT NULL AND currency IS NOT NULL))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX one_live_label ON label (package_id) WHERE state NOT IN ('refused', 'voided');
CREATE INDEX label_by_package ON label (package_id);

-- What was wanted of the carrier. unknown says that it was asked and the answer is missing; it ends in proof only.
CREATE TABLE carrier_operation (
    operation_id  uuid        PRIMARY KEY,
    label_id      uuid        NOT NULL REFERENCES label,
    kind          text        NOT NULL CHECK (kind IN ('buy', 'void')),
    state         text        NOT NULL CHECK (state IN ('requested', 'unknown', 'succeeded', 'failed')),
    -- The carrier's name for what came of it.
    proof         text        CHECK (proof <> ''),
    failure_class text        CHECK (failure_class IN ('declined', 'invalid', 'state')),
    failure_code  text        CHECK (failure_code <> ''),
    requested_at  timestamptz NOT NULL,
    unknown_since timestamptz,
    decided_at    timestamptz,
    CONSTRAINT unknown_has_age CHECK (state <> 'unknown' OR unknown_since IS NOT NULL),
    CONSTRAINT decided_has_time CHECK ((state IN ('succeeded', 'failed')) = (decided_at IS NOT NULL)),
    CONSTRAINT success_has_proof CHECK ((state = 'succeeded') = (proof IS NOT NULL)),
    CONSTRAINT failure_has_class CHECK ((state = 'failed') = (failure_class IS NOT NULL AND failure_code IS NOT NULL))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX one_open_operation ON carrier_operation (label_id, kind) WHERE state <> 'failed';
CREATE INDEX carrier_operation_by_label ON carrier_operation (label_id);

-- One row a request that can change something, written before it is sent: a row without an outcome may have happened.
CREATE TABLE carrier_attempt (
    operation_id uuid        NOT NULL REFERENCES carrier_operation,
    attempt_no   int         NOT NULL CHECK (attempt_no > 0),
    sent_at      timestamptz NOT NULL,
    ended_at     timestamptz,
    outcome      text        CHECK (outcome IN ('answered', 'not_sent', 'unanswered')),
    detail       text        NOT NULL DEFAULT '',
    PRIMARY KEY (operation_id, attempt_no),
    CONSTRAINT ended_has_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 70);

-- A shipment that is over must not leave a label behind that is live and paid for. Checked at commit, because the two
-- rows change in two statements.
-- +goose StatementBegin
CREATE FUNCTION shipment_leaves_no_live_label() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF EXISTS (SELECT 1
               FROM package p
                        JOIN label l USING (package_id)
               WHERE p.shipment_id = NEW.shipment_id
                 AND l.state NOT IN ('refused', 'voided')) THEN
        RAISE EXCEPTION 'shipment % is % and still has a live label', NEW.shipment_id, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'no_live_label_left', TABLE = 'shipment';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER no_live_label_left
    AFTER INSERT OR UPDATE OF state
    ON shipment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state IN ('refused', 'cancelled'))
EXECUTE FUNCTION shipment_leaves_no_live_label();

-- +goose StatementBegin
CREATE FUNCTION label_belongs_to_live_shipment() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF EXISTS (SELECT 1
               FROM package p
                        JOIN shipment s USING (shipment_id)
               WHERE p.package_id = NEW.package_id
                 AND s.state IN ('refused', 'cancelled')) THEN
        RAISE EXCEPTION 'label % is % and its shipment is over', NEW.label_id, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'no_label_after_the_end', TABLE = 'label';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER no_label_after_the_end
    AFTER INSERT OR UPDATE OF state
    ON label
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state NOT IN ('refused', 'voided'))
EXECUTE FUNCTION label_belongs_to_live_shipment();

-- +goose Down
DROP TABLE carrier_attempt, carrier_operation, label, package, shipment_item, shipment;
DROP FUNCTION shipment_leaves_no_live_label();
DROP FUNCTION label_belongs_to_live_shipment();
