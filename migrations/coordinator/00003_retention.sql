-- +goose Up

-- Keys are written in the order of time, so a summary of each range of pages finds the old ones and costs an insert
-- next to nothing.
CREATE INDEX request_key_created ON request_key USING brin (created_at);

-- drop_partitions drops the months of saga_history or outbox that ended before the given time, and says which. A month
-- of the outbox with an event that was not published stays. It waits for locks for a moment only, because everything
-- else would wait behind it; the caller tries again later.
-- +goose StatementBegin
CREATE FUNCTION drop_partitions(parent text, before timestamptz) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    child   text;
    ended   timestamptz;
    waiting boolean;
    dropped text[] := '{}';
BEGIN
    IF parent NOT IN ('saga_history', 'outbox') THEN
        RAISE EXCEPTION '% has no months', parent;
    END IF;
    -- Whatever a caller asks for: what is so young may still be needed.
    before := least(before, now() - interval '3 days');
    PERFORM pg_advisory_xact_lock(hashtext('recourse.coordinator.make_partitions'));
    FOR child IN
        SELECT c.relname
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent::regclass AND c.relname ~ ('^' || parent || '_[0-9]{6}$')
        ORDER BY c.relname
    LOOP
        ended := (to_date(right(child, 6), 'YYYYMM') + interval '1 month')::timestamp AT TIME ZONE 'UTC';
        EXIT WHEN ended > before;
        IF parent = 'outbox' THEN
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE published_at IS NULL)', child) INTO waiting;
            CONTINUE WHEN waiting;
        END IF;
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped || child;
    END LOOP;
    RETURN dropped;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    -- As with make_partitions: the owner's rights inside this one function, on a path that no caller can change.
    EXECUTE format('ALTER FUNCTION drop_partitions(text, timestamptz) SECURITY DEFINER SET search_path = %I, pg_temp',
        current_schema());
    ALTER FUNCTION drop_partitions(text, timestamptz) SET lock_timeout = '500ms';
END
$$;
-- +goose StatementEnd

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
DROP FUNCTION drop_partitions(text, timestamptz);
DROP INDEX request_key_created;
