-- +goose Up

-- Indexed in place of state, so that only the end of a row touches its indexes. And while they said state, the planner
-- took them, all of them, for what is open, once it had seen the tables small: what has one live row for each thing ever
-- shipped is no list of what is open.
ALTER TABLE shipment
    ADD COLUMN live boolean NOT NULL GENERATED ALWAYS AS (state NOT IN ('refused', 'cancelled')) STORED;
ALTER TABLE label
    ADD COLUMN live boolean NOT NULL GENERATED ALWAYS AS (state NOT IN ('refused', 'voided')) STORED;
ALTER TABLE carrier_operation
    ADD COLUMN live boolean NOT NULL GENERATED ALWAYS AS (state <> 'failed') STORED;
DROP INDEX one_live_shipment;
DROP INDEX one_live_label;
DROP INDEX one_open_operation;
CREATE UNIQUE INDEX one_live_shipment ON shipment (order_id) WHERE live;
CREATE UNIQUE INDEX one_live_label ON label (package_id) WHERE live;
CREATE UNIQUE INDEX one_open_operation ON carrier_operation (label_id, kind) WHERE live;

-- Rows that are written in one batch are settled in another: each needs room for its second version on its own page.
ALTER TABLE shipment SET (fillfactor = 45);
ALTER TABLE label SET (fillfactor = 40);
ALTER TABLE carrier_operation SET (fillfactor = 45);
ALTER TABLE carrier_attempt SET (fillfactor = 45);

-- A label that was live before and stays so breaks nothing: the end of its shipment is checked where the shipment ends.
-- What an end that came first has left here is not live, and its way back is checked.
DROP TRIGGER no_label_after_the_end ON label;
CREATE CONSTRAINT TRIGGER no_label_after_the_end
    AFTER INSERT
    ON label
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state NOT IN ('refused', 'voided'))
EXECUTE FUNCTION label_belongs_to_live_shipment();
CREATE CONSTRAINT TRIGGER no_label_again_after_the_end
    AFTER UPDATE OF state, package_id
    ON label
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state NOT IN ('refused', 'voided')
        AND (OLD.state IN ('refused', 'voided') OR NEW.package_id <> OLD.package_id))
EXECUTE FUNCTION label_belongs_to_live_shipment();

-- +goose Down
DROP TRIGGER no_label_again_after_the_end ON label;
DROP TRIGGER no_label_after_the_end ON label;
CREATE CONSTRAINT TRIGGER no_label_after_the_end
    AFTER INSERT OR UPDATE OF state
    ON label
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state NOT IN ('refused', 'voided'))
EXECUTE FUNCTION label_belongs_to_live_shipment();
ALTER TABLE shipment SET (fillfactor = 70);
ALTER TABLE label SET (fillfactor = 70);
ALTER TABLE carrier_operation SET (fillfactor = 70);
ALTER TABLE carrier_attempt SET (fillfactor = 70);
DROP INDEX one_live_shipment;
DROP INDEX one_live_label;
DROP INDEX one_open_operation;
ALTER TABLE shipment DROP COLUMN live;
ALTER TABLE label DROP COLUMN live;
ALTER TABLE carrier_operation DROP COLUMN live;
CREATE UNIQUE INDEX one_live_shipment ON shipment (order_id) WHERE state NOT IN ('refused', 'cancelled');
CREATE UNIQUE INDEX one_live_label ON label (package_id) WHERE state NOT IN ('refused', 'voided');
CREATE UNIQUE INDEX one_open_operation ON carrier_operation (label_id, kind) WHERE state <> 'failed';
