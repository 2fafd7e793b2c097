-- +goose Up

-- One row per effect key: inbox, barrier, tombstone and stored reply of the participant at once. pkg/worker owns it;
-- domain tables are never joined with it.
CREATE TABLE step (
    saga_id       uuid        NOT NULL,
    step          text        NOT NULL,
    generation    integer     NOT NULL,
    order_id      uuid        NOT NULL,
    -- 1 in_doubt, 2 done, 3 refused, 4 void, 5 undo_in_doubt, 6 undone
    state         smallint    NOT NULL CHECK (state IN (1, 2, 3, 4, 5, 6)),
    -- Counts the facts stated about the effect.
    effect_seq    integer     NOT NULL CHECK (effect_seq >= 0),
    -- An undo arrived while the do was in doubt.
    undo_wanted   boolean     NOT NULL,
    -- Name of the do command, in full or from the participant's own dot on; its bytes are absent in a tombstone. How
    -- messages are kept is said in pkg/worker/compact.go.
    command_type  text        NOT NULL,
    command       bytea,
    -- The undo command, kept from the moment that the resolver may have to run it.
    undo          bytea,
    -- The reply that stated the last fact; absent while no fact is known.
    reply         bytea,
    -- Questions asked again so far in this state.
    probes        integer     NOT NULL,
    -- A call is on its way; next_probe_at is when it is given up for lost.
    asking        boolean     NOT NULL,
    -- When the resolver asks next.
    next_probe_at timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, step, generation),
    CHECK ((state IN (1, 5)) = (next_probe_at IS NOT NULL)),
    CHECK ((state = 1) = (reply IS NULL)),
    CHECK ((state = 4) = (command IS NULL)),
    CHECK (state = 1 OR NOT undo_wanted),
    CHECK (state IN (1, 5) OR NOT asking),
    CHECK (undo IS NOT NULL OR NOT (undo_wanted OR state = 5))
) WITH (fillfactor = 70);

-- Open questions only: rows that are settled are not in it.
CREATE INDEX step_next_probe_at ON step (next_probe_at) WHERE next_probe_at IS NOT NULL;

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
DROP TABLE step;
