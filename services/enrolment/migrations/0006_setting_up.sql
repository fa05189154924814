-- switched_at: when two-factor was turned on or off last.
ALTER TABLE account ADD COLUMN switched_at timestamptz;
UPDATE account a SET switched_at = (
    SELECT max(at) FROM setting_change c
     WHERE c.account_id = a.account_id AND c.kind IN ('two_factor.enabled', 'two_factor.disabled'));

-- ip: the address from which somebody changed a setting, where it is known. The chain covers it where it is not null.
ALTER TABLE setting_change ADD COLUMN ip text;

-- What a request is about, so that its grant needs nothing but this row.
-- old_number_id: the number in force that a change_number is approved on, and that a confirm_number replaces.
-- new_*: the number that becomes a user's once the grant is spent. It is sealed with that user's id; `member_id` is that
-- user, null: `user_id`. ip: where the request came from.
ALTER TABLE request ADD COLUMN old_number_id uuid;
ALTER TABLE request ADD COLUMN new_number_id uuid;
ALTER TABLE request ADD COLUMN new_sealed bytea;
ALTER TABLE request ADD COLUMN new_key_id text;
ALTER TABLE request ADD COLUMN new_fingerprint bytea;
ALTER TABLE request ADD COLUMN new_country text;
ALTER TABLE request ADD COLUMN new_hint text;
ALTER TABLE request ADD COLUMN ip text;
CREATE INDEX request_of_user ON request (user_id, opened_at);

