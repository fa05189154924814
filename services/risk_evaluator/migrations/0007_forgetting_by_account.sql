-- Whoever learns a place shares a lock with the other learners of the account, and looks once more at what was forgotten:
-- statements of a trigger function see what was committed while the lock was waited for. So a forgetting holds up the
-- learners of its own accounts alone.
CREATE FUNCTION refuse_forgotten_place() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(NEW.account_id::text, 1347174723));
    IF EXISTS (SELECT FROM forgotten f
                WHERE f.account_id = NEW.account_id
                  AND (f.user_id IS NULL OR f.user_id = NEW.taught_by)
                  AND (f.place IS NULL OR f.place = NEW.place)
                  AND f.forgotten_at >= NEW.last_used_at) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER only_unforgotten BEFORE INSERT ON place FOR EACH ROW EXECUTE FUNCTION refuse_forgotten_place();
