-- A coordinator makes its partitions of coming months by itself. With the owner's rights inside this one function, it
-- needs none of them outside, and its login may be one that only reads and writes rows.

-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    -- The path is fixed, or a caller could put a table of his own in front.
    EXECUTE format('ALTER FUNCTION make_partitions(integer) SECURITY DEFINER SET search_path = %I, pg_temp',
        current_schema());
END
$$;
-- +goose StatementEnd

-- +goose Down
ALTER FUNCTION make_partitions(integer) SECURITY INVOKER RESET search_path;
