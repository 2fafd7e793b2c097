-- +goose Up

-- Indexed in place of state and gateway_ref, so that an operation that is settled touches no index unless it failed.
ALTER TABLE operation
    ADD COLUMN live boolean NOT NULL GENERATED ALWAYS AS (state <> 'failed') STORED,
    ADD COLUMN lost boolean NOT NULL GENERATED ALWAYS AS (state IN ('unknown', 'manual')) STORED,
    ADD COLUMN refund_ref text GENERATED ALWAYS AS (CASE WHEN kind = 'refund' THEN gateway_ref END) STORED;
DROP INDEX operation_live_authorize;
DROP INDEX operation_live_void;
DROP INDEX operation_refund_ref;
DROP INDEX operation_unknown;
CREATE UNIQUE INDEX operation_live_authorize ON operation (intent_id) WHERE kind = 'authorize' AND live;
CREATE UNIQUE INDEX operation_live_void ON operation (intent_id) WHERE kind = 'void' AND live;
CREATE UNIQUE INDEX operation_refund_ref ON operation (refund_ref) WHERE kind = 'refund';
CREATE INDEX operation_unknown ON operation (COALESCE(unknown_since, requested_at), operation_id) WHERE lost;

-- Rows that are written in one batch are settled in another: each needs room for its second version on its own page.
ALTER TABLE intent SET (fillfactor = 45);
ALTER TABLE operation SET (fillfactor = 45);
ALTER TABLE attempt SET (fillfactor = 40);

-- Asked of what consists of digits only, and not of every token whenever its intent changes. It refuses what it refused.
ALTER TABLE intent DROP CONSTRAINT no_card_data;
ALTER TABLE intent ADD CONSTRAINT no_card_data
    CHECK (payment_token !~ '^[0-9 -]*$' OR NOT looks_like_card_number(payment_token));

-- One check for an INSERT, however many transfers it books; both halves of a transfer come in one INSERT.
DROP TRIGGER journal_balanced ON journal;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION journal_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad uuid;
BEGIN
    SELECT txn_id INTO bad
    FROM journal
    WHERE txn_id = ANY (ARRAY(SELECT DISTINCT txn_id FROM added))
    GROUP BY txn_id, currency
    HAVING sum(amount) <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal transaction % does not balance', bad
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_balanced', TABLE = 'journal';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER journal_balanced AFTER INSERT ON journal REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION journal_balanced();

-- +goose Down
DROP TRIGGER journal_balanced ON journal;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION journal_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER journal_balanced AFTER INSERT ON journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_balanced();
ALTER TABLE intent DROP CONSTRAINT no_card_data;
ALTER TABLE intent ADD CONSTRAINT no_card_data CHECK (NOT looks_like_card_number(payment_token));
ALTER TABLE intent SET (fillfactor = 70);
ALTER TABLE operation SET (fillfactor = 70);
ALTER TABLE attempt SET (fillfactor = 70);
DROP INDEX operation_live_authorize;
DROP INDEX operation_live_void;
DROP INDEX operation_refund_ref;
DROP INDEX operation_unknown;
ALTER TABLE operation
    DROP COLUMN live,
    DROP COLUMN lost,
    DROP COLUMN refund_ref;
CREATE UNIQUE INDEX operation_live_authorize ON operation (intent_id) WHERE kind = 'authorize' AND state <> 'failed';
CREATE UNIQUE INDEX operation_live_void ON operation (intent_id) WHERE kind = 'void' AND state <> 'failed';
CREATE UNIQUE INDEX operation_refund_ref ON operation (kind, gateway_ref) WHERE kind = 'refund';
CREATE INDEX operation_unknown ON operation (COALESCE(unknown_since, requested_at), operation_id)
    WHERE state IN ('unknown', 'manual');
