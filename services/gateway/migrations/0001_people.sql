-- Who may sign in. The platform's own people: e-mail addresses are kept folded (NFKC, lower case), passwords as argon2id.
CREATE TABLE person (
    user_id    uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    email      text NOT NULL UNIQUE CHECK (length(email) <= 254),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    password   text NOT NULL CHECK (password LIKE '$argon2id$%'),
    staff      boolean NOT NULL
);

-- `id` is the SHA-256 of what the browser holds: whoever reads this table cannot be anybody. A pending session has
-- given the right password and holds its login request; a signed-in one came out of that request's grant.
CREATE TABLE session (
    id         bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    site       text NOT NULL CHECK (site IN ('pages', 'console')),
    stage      text NOT NULL CHECK (stage IN ('pending', 'signed_in')),
    user_id    uuid NOT NULL REFERENCES person ON DELETE CASCADE,
    request_id uuid NOT NULL,
    method     text CHECK (method IN ('none', 'sms')),
    ip         inet,
    begun_at   timestamptz NOT NULL,
    used_at    timestamptz NOT NULL,
    CHECK ((stage = 'signed_in') = (method IS NOT NULL))
);
CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_begun ON session (begun_at);

-- Grants that have opened a session: each does so once.
CREATE TABLE spent_grant (
    jti      uuid PRIMARY KEY,
    spent_at timestamptz NOT NULL
);
CREATE INDEX spent_grant_age ON spent_grant (spent_at);

-- How far ahead of the clock the tries of one key are (a leaky bucket kept as one time). `key` is a SHA-256.
CREATE TABLE password_try (
    key        bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    full_until timestamptz NOT NULL
);
CREATE INDEX password_try_age ON password_try (full_until);

-- Exports asked for on these pages, so that a closed page is found again.
CREATE TABLE export_asked (
    export_id  uuid PRIMARY KEY,
    user_id    uuid NOT NULL,
    account_id uuid NOT NULL,
    list_name  text NOT NULL CHECK (length(list_name) <= 200),
    format     text NOT NULL CHECK (format IN ('csv', 'jsonl')),
    asked_at   timestamptz NOT NULL
);
CREATE INDEX export_asked_of_user ON export_asked (user_id, asked_at);

-- Events that have ended sessions, by their natural key.
CREATE TABLE ending (
    event_key text PRIMARY KEY CHECK (length(event_key) <= 120),
    folded_at timestamptz NOT NULL
);
CREATE INDEX ending_age ON ending (folded_at);
