package deadletter

// DDL is the table, word for word as it stands in every service's migrations.
const DDL = `CREATE TABLE dead_letter (
    id            uuid        PRIMARY KEY,
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    record_offset bigint      NOT NULL,
    record_time   timestamptz NOT NULL,
    key           bytea,
    value         bytea,
    headers       jsonb       NOT NULL,
    reason        text        NOT NULL CHECK (reason IN (
        'undecodable', 'unknown_type', 'wrong_topic', 'handler_panic', 'handler_refused', 'unknown_saga')),
    error         text        NOT NULL,
    at            timestamptz NOT NULL,
    redriven_at   timestamptz,
    UNIQUE (topic, partition, record_offset, record_time)
);
`

// PruneDDL is what later migrations have added to the table, word for word: a reason, and an index for Prune.
const PruneDDL = `ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_reason_check;
ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_reason_check CHECK (reason IN (
    'undecodable', 'unknown_type', 'wrong_topic', 'handler_panic', 'handler_refused', 'unknown_saga', 'too_old'));
-- For pruning: what was redriven long ago.
CREATE INDEX dead_letter_redriven ON dead_letter (redriven_at) WHERE redriven_at IS NOT NULL;
`

// DismissDDL is what a still later migration has added: who said that a letter needs nothing any more, and an index for
// RegisterOpen, because what waits for an operator is counted at every look at the metrics.
const DismissDDL = `ALTER TABLE dead_letter
    ADD COLUMN dismissed_at     timestamptz,
    ADD COLUMN dismissed_by     text,
    ADD COLUMN dismissed_reason text,
    ADD CONSTRAINT dead_letter_dismissed CHECK ((dismissed_at IS NULL) = (dismissed_reason IS NULL));
-- What waits for an operator.
CREATE INDEX dead_letter_open ON dead_letter (id) WHERE redriven_at IS NULL AND dismissed_at IS NULL;
-- For pruning: what was dismissed long ago.
CREATE INDEX dead_letter_dismissed ON dead_letter (dismissed_at) WHERE dismissed_at IS NOT NULL;
`
