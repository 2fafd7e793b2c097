-- +goose Up
-- A saga is written four times within seconds, together with its neighbours on the page: with half a page of room one
-- update in twelve found none, went to another page and wrote the indexes.
ALTER TABLE saga SET (fillfactor = 25);

-- +goose Down
ALTER TABLE saga SET (fillfactor = 50);
