-- +goose Up
-- Rules over more than one row. They hold whoever writes: this service, a repair script or a person in psql.
-- All of them refuse with 23514 (check_violation), like the CHECKs beside the tables.

-- History is written once.
-- +goose StatementBegin
CREATE FUNCTION movement_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the movement ledger is append-only: % refused', TG_OP
        USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only', TABLE = 'movement';
END $$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON movement
    FOR EACH STATEMENT EXECUTE FUNCTION movement_append_only();

-- A movement follows the one before it and its level has already taken it, so write levels first. One check per
-- INSERT, however many rows it has. LIMIT keeps the planner at one index probe a row.
-- +goose StatementBegin
CREATE FUNCTION movement_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    SELECT a.item_id, a.location_id, a.version INTO bad
    FROM added a
    LEFT JOIN LATERAL (
        SELECT l.version FROM stock_level l
        WHERE l.item_id = a.item_id AND l.location_id = a.location_id LIMIT 1) l ON true
    LEFT JOIN LATERAL (
        SELECT m.on_hand, m.reserved, m.unavailable FROM movement m
        WHERE m.item_id = a.item_id AND m.location_id = a.location_id AND m.version = a.version - 1 LIMIT 1) p ON true
    WHERE l.version IS NULL
        OR l.version < a.version
        OR (p.on_hand IS NULL AND a.version > 1)
        OR a.on_hand <> coalesce(p.on_hand, 0) + a.d_on_hand
        OR a.reserved <> coalesce(p.reserved, 0) + a.d_reserved
        OR a.unavailable <> coalesce(p.unavailable, 0) + a.d_unavailable
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'movement % of item % at location % does not follow from the one before it and its level',
            bad.version, bad.item_id, bad.location_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'movement_chain', TABLE = 'movement';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER movement_chain AFTER INSERT ON movement REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION movement_chain();

-- A level's quantities change only forward in version, and a shortage is found, not invented: it may grow only when
-- what can be sold fell and nothing new was promised. Otherwise it would be a way round no_oversell.
-- +goose StatementBegin
CREATE FUNCTION stock_level_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    complaint text;
BEGIN
    CASE TG_OP
    WHEN 'DELETE' THEN
        complaint := 'a level has history and cannot be deleted';
    WHEN 'INSERT' THEN
        IF NEW.shortage <> 0 THEN
            complaint := 'a level cannot begin with a shortage';
        END IF;
    ELSE
        IF (NEW.item_id, NEW.location_id) <> (OLD.item_id, OLD.location_id) THEN
            complaint := 'a level keeps its item and location';
        ELSIF NEW.version < OLD.version OR (NEW.version = OLD.version
            AND (NEW.on_hand, NEW.reserved, NEW.unavailable) <> (OLD.on_hand, OLD.reserved, OLD.unavailable)) THEN
            complaint := format('stale write: version %s over version %s', NEW.version, OLD.version);
        ELSIF NEW.shortage > OLD.shortage AND (NEW.reserved > OLD.reserved
            OR NEW.on_hand - NEW.unavailable + NEW.backorder_limit
                >= OLD.on_hand - OLD.unavailable + OLD.backorder_limit) THEN
            complaint := 'a shortage grows only when sellable stock falls and nothing new is reserved';
        END IF;
    END CASE;
    IF complaint IS NOT NULL THEN
        RAISE EXCEPTION '%', complaint
            USING ERRCODE = 'check_violation', CONSTRAINT = 'level_guard', TABLE = 'stock_level';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
-- +goose StatementEnd
CREATE TRIGGER level_guard BEFORE INSERT OR UPDATE OR DELETE ON stock_level
    FOR EACH ROW EXECUTE FUNCTION stock_level_guard();

-- No stock change without its ledger rows: at commit, the movements between the old and the new version must be all
-- there and add up to the change.
-- +goose StatementBegin
CREATE FUNCTION stock_level_has_movement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_version     bigint := 0;
    was_on_hand     bigint := 0;
    was_reserved    bigint := 0;
    was_unavailable bigint := 0;
    moved           record;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was_version := OLD.version;
        was_on_hand := OLD.on_hand;
        was_reserved := OLD.reserved;
        was_unavailable := OLD.unavailable;
    END IF;
    SELECT count(*) AS n, coalesce(sum(d_on_hand), 0) AS on_hand, coalesce(sum(d_reserved), 0) AS reserved,
        coalesce(sum(d_unavailable), 0) AS unavailable INTO moved
    FROM movement
    WHERE item_id = NEW.item_id AND location_id = NEW.location_id
        AND version > was_version AND version <= NEW.version;
    IF (moved.n, moved.on_hand, moved.reserved, moved.unavailable) <> (NEW.version - was_version,
        NEW.on_hand - was_on_hand, NEW.reserved - was_reserved, NEW.unavailable - was_unavailable) THEN
        RAISE EXCEPTION 'level of item % at location % went from version % to % without movements that say so',
            NEW.item_id, NEW.location_id, was_version, NEW.version
            USING ERRCODE = 'check_violation', CONSTRAINT = 'level_has_movement', TABLE = 'stock_level';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE CONSTRAINT TRIGGER level_has_movement AFTER INSERT OR UPDATE ON stock_level
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION stock_level_has_movement();

-- What has ended stays ended: the sweeper and a commit that lost the race cannot overwrite each other.
-- +goose StatementBegin
CREATE FUNCTION reservation_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reservation % is % and cannot become %', OLD.reservation_id, OLD.state, NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'reservation_final', TABLE = 'reservation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER reservation_final BEFORE UPDATE ON reservation
    FOR EACH ROW WHEN (OLD.state IN ('consumed', 'released', 'expired')
        OR (OLD.state = 'committed' AND NEW.state NOT IN ('committed', 'consumed', 'released')))
    EXECUTE FUNCTION reservation_final();

-- +goose Down
DROP TRIGGER reservation_final ON reservation;
DROP TRIGGER level_has_movement ON stock_level;
DROP TRIGGER level_guard ON stock_level;
DROP TRIGGER movement_chain ON movement;
DROP TRIGGER append_only ON movement;
DROP FUNCTION reservation_final, stock_level_has_movement, stock_level_guard, movement_chain, movement_append_only;
