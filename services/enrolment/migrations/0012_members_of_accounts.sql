-- How many members an account has, kept with every change of one: the notifier asks for it with each text that it claims,
-- and counting them all would cost more with every member. Whoever changes a member holds the row of the account already.
ALTER TABLE account ADD COLUMN members bigint NOT NULL DEFAULT 0;
UPDATE account a SET members = m.members
  FROM (SELECT account_id, count(*) AS members FROM member WHERE role IS NOT NULL GROUP BY account_id) m
 WHERE m.account_id = a.account_id;

CREATE FUNCTION count_members() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.role IS NOT NULL THEN
        UPDATE account SET members = members - 1 WHERE account_id = OLD.account_id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.role IS NOT NULL THEN
        UPDATE account SET members = members + 1 WHERE account_id = NEW.account_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_new AFTER INSERT ON member
    FOR EACH ROW WHEN (NEW.role IS NOT NULL) EXECUTE FUNCTION count_members();
CREATE TRIGGER count_changed AFTER UPDATE ON member
    FOR EACH ROW WHEN ((OLD.role IS NULL) <> (NEW.role IS NULL) OR OLD.account_id <> NEW.account_id)
    EXECUTE FUNCTION count_members();
CREATE TRIGGER count_gone AFTER DELETE ON member
    FOR EACH ROW WHEN (OLD.role IS NOT NULL) EXECUTE FUNCTION count_members();

CREATE OR REPLACE VIEW sealed_number AS
SELECT n.number_id, n.user_id, n.sealed, n.key_id, n.fingerprint, n.country, m.account_id,
       a.members AS account_members,
       m.locale, m.role, n.state
  FROM phone_number n
  JOIN member m ON m.user_id = n.user_id
  JOIN account a ON a.account_id = m.account_id
 WHERE n.sealed IS NOT NULL
   AND (n.ended_at IS NULL OR n.ended_at > now() - interval '2 days');
