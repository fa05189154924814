-- Access requests of this service's own: what a grant is checked against before anything is done with it.
-- user_id enters the code; number_id is where it goes (null: the number in force); summary is what the text shows, and
-- is in the digest. member_* are manage_member's.
CREATE TABLE request (
    request_id         uuid PRIMARY KEY,
    account_id         uuid NOT NULL REFERENCES account,
    user_id            uuid NOT NULL,
    action             text NOT NULL CHECK (action IN ('confirm_number', 'change_number', 'manage_member', 'manager_act')),
    digest             text NOT NULL,
    summary            jsonb NOT NULL DEFAULT '{}',
    number_id          uuid,
    member_id          uuid,
    member_fingerprint bytea,
    opened_at          timestamptz NOT NULL,
    state              text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'granted', 'denied')),
    closed_at          timestamptz,
    CHECK ((state = 'open') = (closed_at IS NULL))
);
CREATE INDEX request_open ON request (account_id) WHERE state = 'open';
CREATE INDEX request_closed ON request (closed_at) WHERE closed_at IS NOT NULL;

-- A grant is spent once, whatever for. Kept 40 days, longer than any topic could bring it back.
CREATE TABLE spent_grant (
    request_id uuid PRIMARY KEY,
    spent_for  text NOT NULL,
    spent_at   timestamptz NOT NULL
);
CREATE INDEX spent_grant_age ON spent_grant (spent_at);
