-- An export waits for its grant, is granted, has its file, and ends: expired after its time, or denied before.
-- `expires_at` is when the state at hand ends by itself; null once nothing more becomes due.

CREATE TABLE export (
    export_id     uuid PRIMARY KEY,
    account_id    uuid NOT NULL,
    user_id       uuid NOT NULL,
    list_id       uuid NOT NULL,
    list_name     text NOT NULL,
    format        text NOT NULL CHECK (format IN ('csv', 'jsonl')),
    rows          integer NOT NULL CHECK (rows >= 0),
    contacts      bytea NOT NULL CHECK (length(contacts) = 32),
    asked         bytea NOT NULL CHECK (length(asked) = 32),
    asked_at      timestamptz NOT NULL,
    state         text NOT NULL CHECK (state IN ('waiting', 'granted', 'ready', 'denied', 'expired')),
    reason        text,
    retry_at      timestamptz,
    expires_at    timestamptz,
    leased_until  timestamptz NOT NULL DEFAULT '-infinity',
    CHECK ((state IN ('denied', 'expired')) = (expires_at IS NULL)),
    CHECK ((state IN ('denied', 'expired')) = (reason IS NOT NULL))
);

COMMENT ON COLUMN export.contacts IS 'SHA-256 over the ids of the frozen contacts, in the order of the file';
COMMENT ON COLUMN export.asked IS 'SHA-256 of the body that asked for it: the same id with another body is a conflict';
COMMENT ON COLUMN export.list_name IS 'as the text shows it, frozen with the contacts';

CREATE INDEX export_granted ON export (leased_until) WHERE state = 'granted';
CREATE INDEX export_ending ON export (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX export_waiting_of_user ON export (user_id) WHERE state = 'waiting';
CREATE INDEX export_old ON export (asked_at);

-- Ids and content as they were when the export was asked for; gone with its end, or once the file is written.
CREATE TABLE frozen_contact (
    export_id  uuid NOT NULL,
    position   integer NOT NULL,
    contact_id uuid NOT NULL,
    email      text NOT NULL,
    name       text NOT NULL,
    attributes jsonb NOT NULL,
    PRIMARY KEY (export_id, position)
);

-- For 15 minutes, to the user who asked.
CREATE TABLE file (
    export_id uuid PRIMARY KEY REFERENCES export ON DELETE CASCADE,
    content   bytea NOT NULL
);

ALTER TABLE file ALTER COLUMN content SET STORAGE EXTERNAL;

-- A grant is spent once, also after its export is forgotten. It also tells which account its user belongs to.
CREATE TABLE spent_grant (
    request_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    user_id    uuid NOT NULL,
    spent_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX spent_grant_of_user ON spent_grant (user_id);
CREATE INDEX spent_grant_old ON spent_grant (spent_at);
