-- +goose Up

-- Where each order's saga is. Updated at every step, so nothing that changes is indexed and half of every page is left
-- free: each update stays on its page and touches no index (HOT). The numbers are those of coordinator/saga; a test
-- compares the lists.
CREATE TABLE saga (
    -- UUIDv7: the order of ids is the order of creation.
    id         uuid        PRIMARY KEY,
    -- Equal to id for the saga that fulfils an order. Kept apart, because an order may get further sagas (a return).
    order_id   uuid        NOT NULL,
    -- Hash of the definition that the saga is pinned to.
    definition bigint      NOT NULL,
    -- Kafka partition of the order's records; who consumes it also watches the saga's timers.
    partition  smallint    NOT NULL,
    -- running, completing, compensating, completed, compensated, closed
    state      smallint    NOT NULL CHECK (state IN (1, 2, 3, 4, 5, 6)),
    -- accepted, processing, confirmed, completed, cancelling, cancelled, closed
    status     smallint    NOT NULL CHECK (status IN (1, 2, 3, 4, 5, 6, 7)),
    -- none, no_answer, undo_refused, forward_refused, contract_violation
    attention  smallint    NOT NULL DEFAULT 0 CHECK (attention IN (0, 1, 2, 3, 4)),
    paused     boolean     NOT NULL DEFAULT false,
    -- Counts the writes.
    revision   bigint      NOT NULL CHECK (revision > 0),
    -- The earliest timer; absent while paused and when nothing is waited for.
    next_due   timestamptz,
    -- recourse.saga.v1.SagaRecord
    record     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    CHECK (state < 4 OR ended_at IS NOT NULL),
    CHECK (ended_at IS NULL OR state >= 4)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.2);

-- One row: every saga below this id has ended, so that a scan for open ones need not read all of history.
CREATE TABLE saga_low_water (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id  uuid    NOT NULL
);
INSERT INTO saga_low_water (id) VALUES ('00000000-0000-0000-0000-000000000000');

-- The few sagas that an operator should look at. Written when that changes, which is seldom, so that the list needs no
-- index on the hot row.
CREATE TABLE saga_attention (
    saga_id uuid        PRIMARY KEY,
    kind    smallint    NOT NULL CHECK (kind IN (1, 2, 3, 4)),
    since   timestamptz NOT NULL
);

-- What a shop submitted. Never updated.
CREATE TABLE order_document (
    order_id    uuid        PRIMARY KEY,
    saga_id     uuid        NOT NULL,
    shop        text        NOT NULL,
    customer_id text        NOT NULL,
    reference   text        NOT NULL,
    currency    text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_minor bigint      NOT NULL CHECK (total_minor >= 0),
    -- recourse.order.v1.Order
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX order_document_customer ON order_document (customer_id, order_id);
CREATE INDEX order_document_reference ON order_document (shop, reference, order_id);
CREATE INDEX order_document_any_reference ON order_document (reference, order_id);

-- Which orders have a SKU. Never updated.
CREATE TABLE order_sku (
    sku      text NOT NULL,
    order_id uuid NOT NULL,
    PRIMARY KEY (sku, order_id)
);

-- What was answered to a request that carried an idempotency key.
CREATE TABLE request_key (
    -- The operation, and the order for operations on one.
    scope        text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    order_id     uuid        NOT NULL,
    -- Verdict of a cancellation (agreed, pending_decision, too_late, already_ended, not_possible); 0 for a new order.
    answer       smallint    NOT NULL CHECK (answer IN (0, 1, 2, 3, 4, 5)),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);

-- The definitions that this database has seen, for people who find a hash.
CREATE TABLE definition (
    hash       bigint      PRIMARY KEY,
    name       text        NOT NULL,
    version    integer     NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);

-- Numbers are taken while the saga's row is locked, so those of one saga are in the order of its commits: a reader that
-- goes on behind the last number it saw misses nothing of that saga.
CREATE SEQUENCE saga_history_seq AS bigint;

-- What each saga met: one row for each transaction and saga, also for facts that changed nothing and were kept as
-- evidence (their row repeats the revision). Never updated; months that are no longer wanted are dropped.
CREATE TABLE saga_history (
    saga_id  uuid        NOT NULL,
    seq      bigint      NOT NULL DEFAULT nextval('saga_history_seq'),
    at       timestamptz NOT NULL,
    revision bigint      NOT NULL,
    -- recourse.saga.v1.HistoryRecord
    body     bytea       NOT NULL,
    PRIMARY KEY (saga_id, seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE saga_history_default PARTITION OF saga_history DEFAULT;

CREATE SEQUENCE outbox_seq AS bigint;

-- Domain events of one transaction a row. Published from memory right after the commit by who wrote it, and from here
-- by anybody if that did not happen before claimed_until. Found by that state, never by "ids behind the last one":
-- transactions do not commit in the order of their numbers.
CREATE TABLE outbox (
    id            bigint      NOT NULL DEFAULT nextval('outbox_seq'),
    at            timestamptz NOT NULL,
    -- recourse.order.v1.OutboxBatch
    body          bytea       NOT NULL,
    claimed_until timestamptz NOT NULL,
    published_at  timestamptz,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;

-- make_partitions makes the partitions of this month and of the given number of months after it, and says how many it
-- made. A month whose rows lie in the default partition already is left there.
-- +goose StatementBegin
CREATE FUNCTION make_partitions(ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    parent text;
    -- Without a time zone, so that adding a month does not depend on the session's.
    month  timestamp;
    name   text;
    made   integer := 0;
BEGIN
    -- One at a time: two coordinators start together.
    PERFORM pg_advisory_xact_lock(hashtext('recourse.coordinator.make_partitions'));
    FOREACH parent IN ARRAY ARRAY['saga_history', 'outbox'] LOOP
        FOR i IN 0..ahead LOOP
            month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i);
            name := parent || '_' || to_char(month, 'YYYYMM');
            CONTINUE WHEN to_regclass(name) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    name, parent, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'partition % was not made: the default partition has rows of that month', name;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
-- +goose StatementEnd
SELECT make_partitions(3);

-- Records that could not be applied, with their bytes; pkg/deadletter owns it.
CREATE TABLE dead_letter (
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

-- +goose Down
DROP TABLE dead_letter;
DROP FUNCTION make_partitions;
DROP TABLE outbox;
DROP SEQUENCE outbox_seq;
DROP TABLE saga_history;
DROP SEQUENCE saga_history_seq;
DROP TABLE definition;
DROP TABLE request_key;
DROP TABLE order_sku;
DROP TABLE order_document;
DROP TABLE saga_attention;
DROP TABLE saga_low_water;
DROP TABLE saga;
