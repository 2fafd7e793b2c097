-- +goose Up

-- True for what could be a card number: 13 to 19 digits, spaces and dashes aside, that pass the Luhn check. It guards
-- the only column in which a shop's mistake could leave card data behind.
-- +goose StatementBegin
CREATE FUNCTION looks_like_card_number(token text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN translate(token, ' -', '') !~ '^[0-9]{13,19}$' THEN false
        ELSE (
            SELECT sum(CASE
                WHEN position % 2 = 1 THEN digit
                WHEN digit > 4 THEN 2 * digit - 9
                ELSE 2 * digit
            END) % 10 = 0
            FROM (
                SELECT position, substr(reverse(translate(token, ' -', '')), position, 1)::integer AS digit
                FROM generate_series(1, length(translate(token, ' -', ''))) AS position
            ) AS digits
        )
    END
$$;
-- +goose StatementEnd

-- One promise of a customer's money for one order. The *_pending columns are the double-charge gate: they are raised in
-- the transaction that inserts the operation, before any call, and lowered only when its outcome is known.
CREATE TABLE intent (
    intent_id         uuid        PRIMARY KEY,
    order_id          uuid        NOT NULL,
    fulfilment_group  integer     NOT NULL DEFAULT 0,
    customer_id       text        NOT NULL,
    reference         text        NOT NULL,
    currency          char(3)     NOT NULL,
    amount            bigint      NOT NULL,
    authorized        bigint      NOT NULL DEFAULT 0,
    captured          bigint      NOT NULL DEFAULT 0,
    capture_pending   bigint      NOT NULL DEFAULT 0,
    voided            bigint      NOT NULL DEFAULT 0,
    expired           bigint      NOT NULL DEFAULT 0,
    refunded          bigint      NOT NULL DEFAULT 0,
    refund_pending    bigint      NOT NULL DEFAULT 0,
    state             text        NOT NULL,
    -- Indexed in place of state, so that only an intent's end touches the index.
    live              boolean     NOT NULL
        GENERATED ALWAYS AS (state NOT IN ('declined', 'voided', 'auth_expired', 'closed')) STORED,
    gateway           text        NOT NULL,
    gateway_ref       text        UNIQUE,
    payment_token     text        NOT NULL,
    capture_before    timestamptz,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT amounts_not_negative CHECK (
        amount > 0 AND authorized >= 0 AND captured >= 0 AND capture_pending >= 0
        AND voided >= 0 AND expired >= 0 AND refunded >= 0 AND refund_pending >= 0),
    CONSTRAINT currency_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT intent_state CHECK (state IN (
        'created', 'authorizing', 'requires_action', 'authorized', 'capturing', 'captured',
        'voiding', 'voided', 'declined', 'auth_expired', 'closed')),
    CONSTRAINT no_over_authorization CHECK (authorized <= amount),
    CONSTRAINT no_over_capture CHECK (captured + capture_pending + voided + expired <= authorized),
    CONSTRAINT no_over_refund CHECK (refunded + refund_pending <= captured),
    CONSTRAINT nothing_held_before_authorized CHECK (
        authorized = 0 OR state NOT IN ('created', 'authorizing', 'requires_action', 'declined')),
    CONSTRAINT authorized_has_proof CHECK (authorized = 0 OR gateway_ref IS NOT NULL),
    CONSTRAINT capturing_has_headroom_taken CHECK ((state = 'capturing') = (capture_pending > 0)),
    CONSTRAINT captured_has_money CHECK (state <> 'captured' OR captured > 0),
    CONSTRAINT nothing_held_at_the_end CHECK (
        state NOT IN ('voided', 'auth_expired') OR captured + voided + expired = authorized),
    CONSTRAINT no_card_data CHECK (NOT looks_like_card_number(payment_token))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX intent_live_order ON intent (order_id, fulfilment_group) WHERE live;
CREATE INDEX intent_order ON intent (order_id, intent_id);

-- One thing asked of the provider. It is written before the first byte is sent and settled once.
CREATE TABLE operation (
    operation_id     uuid        PRIMARY KEY,
    intent_id        uuid        NOT NULL REFERENCES intent (intent_id),
    kind             text        NOT NULL,
    amount           bigint      NOT NULL CHECK (amount > 0),
    state            text        NOT NULL,
    idempotency_key  text        NOT NULL UNIQUE CHECK (length(idempotency_key) BETWEEN 16 AND 255),
    request_hash     bytea       NOT NULL,
    gateway_ref      text,
    failure_class    text,
    failure_code     text,
    failure_detail   text,
    unknown_since    timestamptz,
    unknown_reason   text,
    next_probe_at    timestamptz,
    probes           integer     NOT NULL DEFAULT 0,
    requested_at     timestamptz NOT NULL,
    decided_at       timestamptz,
    CONSTRAINT operation_kind CHECK (kind IN ('authorize', 'capture', 'void', 'refund')),
    CONSTRAINT operation_state CHECK (state IN ('requested', 'sent', 'unknown', 'succeeded', 'failed', 'manual')),
    CONSTRAINT failure_classes CHECK (failure_class IN ('declined', 'invalid', 'config', 'expired', 'bug')),
    CONSTRAINT unknown_since_when_unknown CHECK ((state IN ('unknown', 'manual')) = (unknown_since IS NOT NULL)),
    CONSTRAINT decided_when_settled CHECK ((state IN ('succeeded', 'failed')) = (decided_at IS NOT NULL)),
    CONSTRAINT success_has_proof CHECK (state <> 'succeeded' OR gateway_ref IS NOT NULL),
    CONSTRAINT failure_has_class CHECK (state <> 'failed' OR failure_class IS NOT NULL)
) WITH (fillfactor = 70);

CREATE INDEX operation_intent ON operation (intent_id, requested_at);
CREATE UNIQUE INDEX operation_live_authorize ON operation (intent_id) WHERE kind = 'authorize' AND state <> 'failed';
CREATE UNIQUE INDEX operation_live_void ON operation (intent_id) WHERE kind = 'void' AND state <> 'failed';
CREATE UNIQUE INDEX operation_refund_ref ON operation (kind, gateway_ref) WHERE kind = 'refund';
CREATE INDEX operation_unknown ON operation (COALESCE(unknown_since, requested_at), operation_id)
    WHERE state IN ('unknown', 'manual');

-- One HTTP exchange with the provider. A row without an outcome says "may have been sent", never "nothing happened".
CREATE TABLE attempt (
    operation_id        uuid        NOT NULL REFERENCES operation (operation_id),
    attempt_no          integer     NOT NULL CHECK (attempt_no > 0),
    call                text        NOT NULL,
    sent_at             timestamptz NOT NULL,
    ended_at            timestamptz,
    outcome             text,
    http_status         integer,
    gateway_request_id  text,
    error_type          text,
    error_code          text,
    decline_code        text,
    PRIMARY KEY (operation_id, attempt_no),
    CONSTRAINT attempt_call CHECK (call IN ('create', 'confirm', 'capture', 'cancel', 'refund', 'get', 'list')),
    CONSTRAINT attempt_outcome CHECK (outcome IN ('response', 'timeout', 'reset', 'cancelled', 'not_sent')),
    CONSTRAINT ended_with_outcome CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CONSTRAINT status_of_a_response CHECK ((outcome IS NOT DISTINCT FROM 'response') = (http_status IS NOT NULL))
) WITH (fillfactor = 70);

-- What the provider tells by itself. The payload is evidence only: the object is read again before anything is decided.
CREATE TABLE webhook_event (
    gateway       text        NOT NULL,
    event_id      text        NOT NULL,
    type          text        NOT NULL,
    object_ref    text        NOT NULL,
    created_at    timestamptz NOT NULL,
    payload       bytea       NOT NULL,
    received_at   timestamptz NOT NULL,
    processed_at  timestamptz,
    PRIMARY KEY (gateway, event_id)
);

-- Every movement of money as a transfer between two accounts. The transaction id is the operation's id, so one
-- operation can be booked only once.
CREATE TABLE journal (
    entry_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txn_id        uuid        NOT NULL,
    kind          text        NOT NULL,
    account       text        NOT NULL,
    currency      char(3)     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount        bigint      NOT NULL CHECK (amount <> 0),
    intent_id     uuid        NOT NULL REFERENCES intent (intent_id),
    operation_id  uuid        NOT NULL REFERENCES operation (operation_id),
    at            timestamptz NOT NULL,
    UNIQUE (txn_id, account),
    CONSTRAINT journal_kind CHECK (kind IN ('authorize', 'capture', 'void', 'expire', 'refund')),
    CONSTRAINT journal_account CHECK (account IN ('customer_funds', 'customer_hold', 'merchant_receivable'))
);

-- +goose StatementBegin
CREATE FUNCTION journal_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM journal WHERE txn_id = NEW.txn_id GROUP BY currency HAVING sum(amount) <> 0;
    IF FOUND THEN
        RAISE EXCEPTION 'journal transaction % does not balance', NEW.txn_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_balanced', TABLE = 'journal';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- Deferred, so that a transfer's two halves may come in any order within one transaction.
CREATE CONSTRAINT TRIGGER journal_balanced AFTER INSERT ON journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_balanced();

-- +goose StatementBegin
CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only; book a correcting transfer instead'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_append_only', TABLE = 'journal';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only();

-- +goose Down
DROP TABLE journal;
DROP FUNCTION journal_append_only();
DROP FUNCTION journal_balanced();
DROP TABLE webhook_event;
DROP TABLE attempt;
DROP TABLE operation;
DROP TABLE intent;
DROP FUNCTION looks_like_card_number(text);
