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
