-- +goose Up

-- Indexed in place of state, so that a mail that is sent touches no index.
ALTER TABLE notification
    ADD COLUMN stands boolean NOT NULL
        GENERATED ALWAYS AS (state NOT IN ('suppressed', 'bounced', 'undeliverable')) STORED;
DROP INDEX once;
CREATE UNIQUE INDEX once ON notification (dedupe_key) WHERE stands;

-- A row is written in one batch and settled in another: it needs room for its second version on its own page.
ALTER TABLE notification SET (fillfactor = 40);
ALTER TABLE delivery_attempt SET (fillfactor = 45);

-- +goose Down
ALTER TABLE notification SET (fillfactor = 70);
ALTER TABLE delivery_attempt SET (fillfactor = 70);
DROP INDEX once;
ALTER TABLE notification DROP COLUMN stands;
CREATE UNIQUE INDEX once ON notification (dedupe_key) WHERE state NOT IN ('suppressed', 'bounced', 'undeliverable');
