-- +goose Up
-- A history names its steps by their places in the saga's definition. Their names are kept with its hash, so that a
-- history can be told when no running build knows the definition any more.
ALTER TABLE definition
    ADD COLUMN steps text[],
    ADD COLUMN participants text[];

-- +goose Down
ALTER TABLE definition
    DROP COLUMN steps,
    DROP COLUMN participants;
