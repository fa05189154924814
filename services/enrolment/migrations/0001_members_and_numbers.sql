-- Accounts, their members and their numbers. The row of an account is the lock for everything that must not race:
-- turning two-factor on, adding a member, the version of its settings and the head of its audit chain.
CREATE TABLE account (
    account_id         uuid PRIMARY KEY,
    two_factor         boolean NOT NULL DEFAULT false,
    version            bigint NOT NULL DEFAULT 0,                                      -- of its last setting change
    chain_head         bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    exports_held_until timestamptz
);

-- A row stays for ever, removed or not: `version` is the highest seen, and numbers and holds survive a removal.
-- role null: removed, or not yet approved. pending_*: what a member_set asked for without the owner's code.
CREATE TABLE member (
    user_id            uuid PRIMARY KEY,
    account_id         uuid NOT NULL REFERENCES account,
    version            bigint NOT NULL CHECK (version > 0),
    role               text CHECK (role IN ('owner', 'managed', 'account_manager')),
    name               text,
    locale             text,
    removed_at         timestamptz,
    pending_role       text CHECK (pending_role IN ('owner', 'managed', 'account_manager')),
    pending_name       text,
    pending_locale     text,
    pending_since      timestamptz,
    exports_held_until timestamptz,
    unlocked_at        timestamptz,
    CHECK ((role IS NULL) = (name IS NULL)),
    CHECK (role IS NULL OR removed_at IS NULL),
    CHECK ((pending_role IS NULL) = (pending_name IS NULL) AND (pending_role IS NULL) = (pending_since IS NULL))
);
CREATE INDEX member_of_account ON member (account_id);

-- sealed: nonce and AES-256-GCM of the number, the user id as associated data. fingerprint: HMAC-SHA-256 of it.
-- Both are erased two days after the number ended; that it existed is kept.
CREATE TABLE phone_number (
    number_id    uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES member,
    state        text NOT NULL CHECK (state IN ('provided', 'confirmed', 'replaced', 'reset')),
    hint         text NOT NULL,
    country      text NOT NULL,
    sealed       bytea,
    key_id       text NOT NULL,
    fingerprint  bytea,
    provided_at  timestamptz NOT NULL,
    confirmed_at timestamptz,
    ended_at     timestamptz,
    CHECK ((state IN ('replaced', 'reset')) = (ended_at IS NOT NULL)),
    CHECK (ended_at IS NOT NULL OR (sealed IS NOT NULL AND fingerprint IS NOT NULL))
);
CREATE UNIQUE INDEX one_confirmed_number ON phone_number (user_id) WHERE state = 'confirmed';
CREATE UNIQUE INDEX one_provided_number ON phone_number (user_id) WHERE state = 'provided';
CREATE INDEX number_of_user ON phone_number (user_id);
CREATE INDEX number_to_erase ON phone_number (ended_at) WHERE sealed IS NOT NULL AND ended_at IS NOT NULL;
