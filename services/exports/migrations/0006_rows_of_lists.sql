-- How many contacts a list has, kept with every statement on contacts: pages show it, and counting them all for each page
-- would cost more with every contact.
ALTER TABLE contact_list ADD COLUMN rows bigint NOT NULL DEFAULT 0;
UPDATE contact_list l SET rows = c.rows FROM (SELECT list_id, count(*) AS rows FROM contact GROUP BY list_id) c
 WHERE c.list_id = l.list_id;

CREATE FUNCTION count_contacts() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE contact_list SET rows = 0;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        UPDATE contact_list l SET rows = l.rows - gone.rows
          FROM (SELECT list_id, count(*) AS rows FROM before GROUP BY list_id) AS gone
         WHERE l.list_id = gone.list_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE contact_list l SET rows = l.rows + come.rows
          FROM (SELECT list_id, count(*) AS rows FROM after GROUP BY list_id) AS come
         WHERE l.list_id = come.list_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_new AFTER INSERT ON contact REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER count_moved AFTER UPDATE ON contact REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER count_gone AFTER DELETE ON contact REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER count_none AFTER TRUNCATE ON contact FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
