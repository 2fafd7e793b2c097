-- +goose Up
-- A hold that the clock has ended may still be released by its order, so that no commit makes it again: an undo is a
-- fence. Nothing else ever leaves an ended state.
DROP TRIGGER reservation_final ON reservation;
CREATE TRIGGER reservation_final BEFORE UPDATE ON reservation
    FOR EACH ROW WHEN (OLD.state IN ('consumed', 'released')
        OR (OLD.state = 'expired' AND NEW.state <> 'released')
        OR (OLD.state = 'committed' AND NEW.state NOT IN ('committed', 'consumed', 'released')))
    EXECUTE FUNCTION reservation_final();

-- +goose Down
DROP TRIGGER reservation_final ON reservation;
CREATE TRIGGER reservation_final BEFORE UPDATE ON reservation
    FOR EACH ROW WHEN (OLD.state IN ('consumed', 'released', 'expired')
        OR (OLD.state = 'committed' AND NEW.state NOT IN ('committed', 'consumed', 'released')))
    EXECUTE FUNCTION reservation_final();
