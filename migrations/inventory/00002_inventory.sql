-- +goose Up
-- What is for sale, where it lies, who was promised it, and how it came to be so.
-- The rules that need more than one row stand in 00003_stock_guards.sql.

CREATE DOMAIN qty AS bigint CHECK (VALUE >= 0);

CREATE TABLE item (
    item_id    uuid        NOT NULL PRIMARY KEY,
    sku        text        NOT NULL UNIQUE,
    gtin       text,
    -- An untracked item (a gift card, a download) has no stock: it is never out of stock and never held.
    tracked    boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sku_shape  CHECK (sku = upper(sku) AND sku ~ '^[A-Z0-9][A-Z0-9._-]{0,63}$'),
    CONSTRAINT gtin_shape CHECK (gtin ~ '^([0-9]{8}|[0-9]{12,14})$')
);

CREATE TABLE location (
    location_id uuid        NOT NULL PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    country     text        NOT NULL,
    -- Nothing new is promised from an inactive location; what was promised stays promised.
    active      boolean     NOT NULL DEFAULT true,
    -- The lower number is asked first.
    priority    integer     NOT NULL DEFAULT 100,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT code_shape    CHECK (code ~ '^[A-Z0-9][A-Z0-9._-]{0,31}$'),
    CONSTRAINT country_shape CHECK (country ~ '^[A-Z]{2}$')
);

-- One row per item and location. Every write carries a higher version and has its movement rows.
CREATE TABLE stock_level (
    item_id         uuid   NOT NULL REFERENCES item,
    location_id     uuid   NOT NULL REFERENCES location,
    on_hand         qty    NOT NULL DEFAULT 0,
    reserved        qty    NOT NULL DEFAULT 0,
    -- On the shelf but not for sale: quarantine, damage.
    unavailable     qty    NOT NULL DEFAULT 0,
    -- How much may be promised beyond what is there.
    backorder_limit qty    NOT NULL DEFAULT 0,
    -- What a count found missing of what is already promised. Physical truth wins, and is shown.
    shortage        qty    NOT NULL DEFAULT 0,
    version         bigint NOT NULL DEFAULT 0,
    available       bigint GENERATED ALWAYS AS (on_hand - reserved - unavailable) STORED,
    PRIMARY KEY (item_id, location_id),
    CONSTRAINT version_counts CHECK (version >= 0),
    CONSTRAINT no_oversell CHECK (reserved + unavailable <= on_hand + backorder_limit + shortage),
    CONSTRAINT shortage_exact CHECK (
        shortage = 0 OR shortage = reserved + unavailable - on_hand - backorder_limit)
) WITH (fillfactor = 70);

-- A promise of stock to an order. The states are repeated in services/inventory/reservation.go; a test compares.
CREATE TABLE reservation (
    reservation_id  uuid        NOT NULL PRIMARY KEY,
    order_id        uuid        NOT NULL,
    saga_id         uuid        NOT NULL,
    purpose         text        NOT NULL DEFAULT 'order',
    state           text        NOT NULL,
    -- Where the goods go; a location there is preferred, also when an expired hold is taken again.
    ship_to_country text        NOT NULL DEFAULT '',
    expires_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    decided_at      timestamptz,
    -- The saga that committed, consumed or released it; null when the clock did.
    decided_by      uuid,
    reason          text        NOT NULL DEFAULT '',
    CONSTRAINT state_known CHECK (state IN ('held', 'committed', 'consumed', 'released', 'expired')),
    CONSTRAINT decided_when_not_held CHECK ((state = 'held') = (decided_at IS NULL)),
    CONSTRAINT hold_has_end CHECK (state <> 'held' OR expires_at IS NOT NULL)
) WITH (fillfactor = 70);

-- An order has at most one live promise per purpose: a second one would sell the same thing to it twice.
CREATE UNIQUE INDEX reservation_live ON reservation (order_id, purpose) WHERE state IN ('held', 'committed');
CREATE INDEX reservation_order ON reservation (order_id);
CREATE INDEX reservation_expiry ON reservation (expires_at) WHERE state = 'held';

CREATE TABLE reservation_line (
    reservation_id uuid NOT NULL REFERENCES reservation,
    order_line_id  text NOT NULL,
    item_id        uuid NOT NULL,
    location_id    uuid NOT NULL,
    qty            qty  NOT NULL,
    shipped        qty  NOT NULL DEFAULT 0,
    released       qty  NOT NULL DEFAULT 0,
    open           bigint GENERATED ALWAYS AS (qty - shipped - released) STORED,
    PRIMARY KEY (reservation_id, order_line_id, location_id),
    FOREIGN KEY (item_id, location_id) REFERENCES stock_level,
    CONSTRAINT qty_positive CHECK (qty > 0),
    CONSTRAINT line_conserved CHECK (shipped + released <= qty)
) WITH (fillfactor = 70);

-- The ledger: every change of a level, for ever. cause_id is the reservation, or the request that moved stock.
CREATE TABLE movement (
    item_id       uuid        NOT NULL,
    location_id   uuid        NOT NULL,
    version       bigint      NOT NULL,
    kind          text        NOT NULL,
    d_on_hand     bigint      NOT NULL,
    d_reserved    bigint      NOT NULL,
    d_unavailable bigint      NOT NULL,
    -- The level after this movement.
    on_hand       qty         NOT NULL,
    reserved      qty         NOT NULL,
    unavailable   qty         NOT NULL,
    cause_id      uuid        NOT NULL,
    reason        text        NOT NULL DEFAULT '',
    actor         text        NOT NULL,
    at            timestamptz NOT NULL,
    PRIMARY KEY (item_id, location_id, version),
    FOREIGN KEY (item_id, location_id) REFERENCES stock_level,
    -- The same cause cannot move the same level in the same way twice.
    CONSTRAINT cause_once UNIQUE (cause_id, item_id, location_id, kind),
    CONSTRAINT version_positive CHECK (version > 0),
    CONSTRAINT kind_shape CHECK (CASE kind
        WHEN 'receive'    THEN d_on_hand > 0  AND d_reserved = 0 AND d_unavailable = 0
        WHEN 'adjust'     THEN d_on_hand <> 0 AND d_reserved = 0 AND d_unavailable = 0
        WHEN 'reserve'    THEN d_on_hand = 0  AND d_reserved > 0 AND d_unavailable = 0
        WHEN 'release'    THEN d_on_hand = 0  AND d_reserved < 0 AND d_unavailable = 0
        WHEN 'expire'     THEN d_on_hand = 0  AND d_reserved < 0 AND d_unavailable = 0
        WHEN 'ship'       THEN d_on_hand < 0  AND d_reserved = d_on_hand AND d_unavailable = 0
        WHEN 'return'     THEN d_on_hand > 0  AND d_reserved = 0 AND d_unavailable BETWEEN 0 AND d_on_hand
        WHEN 'quarantine' THEN d_on_hand = 0  AND d_reserved = 0 AND d_unavailable <> 0
        WHEN 'transfer'   THEN d_on_hand <> 0 AND d_reserved = 0 AND d_unavailable = 0
        ELSE false END)
);

-- The REST requests that moved stock, by Idempotency-Key: a repeat finds its row and moves nothing.
CREATE TABLE stock_request (
    cause_id        uuid        NOT NULL PRIMARY KEY,
    idempotency_key text        NOT NULL,
    operation       text        NOT NULL CHECK (operation IN ('receive', 'adjust')),
    request_hash    bytea       NOT NULL,
    at              timestamptz NOT NULL
);

-- +goose Down
DROP TABLE stock_request, movement, reservation_line, reservation, stock_level, location, item;
DROP DOMAIN qty;
