-- Who changed what, when and why: one row an event of account.settings.v1, chained by hashes, never changed.
-- chain_head = SHA-256(the head before, the canonical JSON of this row).
CREATE TABLE setting_change (
    account_id    uuid NOT NULL REFERENCES account,
    version       bigint NOT NULL CHECK (version > 0),
    kind          text NOT NULL,
    user_id       uuid,
    actor_kind    text NOT NULL CHECK (actor_kind IN ('user', 'account_manager', 'system')),
    actor_id      text,
    reason        text,
    ticket        text,
    number_id     uuid,
    old_number_id uuid,
    place         text,
    at            timestamptz NOT NULL,
    chain_head    bytea NOT NULL CHECK (length(chain_head) = 32),
    PRIMARY KEY (account_id, version)
);

CREATE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'setting_change is only ever added to';
END
$$;
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON setting_change
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON setting_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();
