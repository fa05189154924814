-- When the session's user last gave the password: pages that change a number or the setting ask for it again.
ALTER TABLE session ADD COLUMN password_at timestamptz;

-- What a session has begun on the settings pages and not finished: the request that waits for its code, and what is to
-- be saved with it. One a session and page. It ends with its session. A number is never here, only its masked form.
CREATE TABLE settings_draft (
    session     bytea NOT NULL REFERENCES session ON DELETE CASCADE,
    page        text NOT NULL CHECK (page IN ('two_factor', 'number', 'member_number')),
    user_id     uuid NOT NULL,
    request_id  uuid NOT NULL,
    needs       text NOT NULL CHECK (needs IN ('confirm_number', 'change_number', 'manage_member')),
    number_id   uuid,
    number_hint text NOT NULL CHECK (length(number_hint) <= 40),
    steps       smallint NOT NULL CHECK (steps IN (1, 2)),
    forget      cidr[] NOT NULL,
    begun_at    timestamptz NOT NULL,
    PRIMARY KEY (session, page)
);

-- What the next page of a session says once, after a redirect: problems, or that something was done. `typed` is what
-- was typed, sealed with a key that follows from the browser's secret, which no table holds.
CREATE TABLE settings_message (
    session bytea NOT NULL REFERENCES session ON DELETE CASCADE,
    page    text NOT NULL CHECK (length(page) <= 100),
    kind    text NOT NULL CHECK (kind IN ('problem', 'done', 'typed')),
    said    jsonb NOT NULL,
    typed   bytea,
    PRIMARY KEY (session, page)
);
