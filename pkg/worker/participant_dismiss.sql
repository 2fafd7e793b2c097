-- +goose Up

-- An operator's word that a dead letter needs nothing any more; pkg/deadletter owns the table.
ALTER TABLE dead_letter
    ADD COLUMN dismissed_at     timestamptz,
    ADD COLUMN dismissed_by     text,
    ADD COLUMN dismissed_reason text,
    ADD CONSTRAINT dead_letter_dismissed CHECK ((dismissed_at IS NULL) = (dismissed_reason IS NULL));
-- What waits for an operator.
CREATE INDEX dead_letter_open ON dead_letter (id) WHERE redriven_at IS NULL AND dismissed_at IS NULL;
-- For pruning: what was dismissed long ago.
CREATE INDEX dead_letter_dismissed ON dead_letter (dismissed_at) WHERE dismissed_at IS NOT NULL;

-- +goose Down
DROP INDEX dead_letter_dismissed;
DROP INDEX dead_letter_open;
ALTER TABLE dead_letter
    DROP CONSTRAINT dead_letter_dismissed,
    DROP COLUMN dismissed_reason,
    DROP COLUMN dismissed_by,
    DROP COLUMN dismissed_at;
