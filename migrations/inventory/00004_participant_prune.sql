-- +goose Up

-- One row: rows of step that belong to sagas from before this time may have been pruned. A command from before it that
-- finds no row is refused, because nobody knows any more what became of its effect. pkg/worker owns it.
CREATE TABLE step_low_water (
    one boolean     PRIMARY KEY DEFAULT true CHECK (one),
    at  timestamptz NOT NULL
);
INSERT INTO step_low_water (at) VALUES ('1970-01-01T00:00:00Z');

ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_reason_check;
ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_reason_check CHECK (reason IN (
    'undecodable', 'unknown_type', 'wrong_topic', 'handler_panic', 'handler_refused', 'unknown_saga', 'too_old'));
-- For pruning: what was redriven long ago.
CREATE INDEX dead_letter_redriven ON dead_letter (redriven_at) WHERE redriven_at IS NOT NULL;

-- +goose Down
DROP INDEX dead_letter_redriven;
DELETE FROM dead_letter WHERE reason = 'too_old';
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_reason_check;
ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_reason_check CHECK (reason IN (
    'undecodable', 'unknown_type', 'wrong_topic', 'handler_panic', 'handler_refused', 'unknown_saga'));
DROP TABLE step_low_water;
