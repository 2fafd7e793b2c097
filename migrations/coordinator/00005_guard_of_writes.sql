-- +goose Up
-- A coordinator decides on what it read before and writes in one round trip: every statement that depends on what was
-- read hands the number of rows that it found to this function. If another writer was faster, the whole transaction
-- fails with a serialization failure, and the coordinator reads and decides again.
-- +goose StatementBegin
CREATE FUNCTION expect_rows(present bigint, wanted bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF present <> wanted THEN
        RAISE EXCEPTION 'found % rows as they were read, of %', present, wanted
            USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION expect_rows(bigint, bigint);
