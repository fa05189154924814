-- A session that came out of a right password after a reset of the number: it enters and confirms a number, no more.
ALTER TABLE session DROP CONSTRAINT session_stage_check;
ALTER TABLE session ADD CONSTRAINT session_stage_check CHECK (stage IN ('pending', 'signed_in', 'setup'));

-- An act that an account manager has asked for in a session: what its grant must authorise, and what came of it.
-- outcome null: it waits for its code; done, recorded, or the word with which enrolment refused it. ip and locale: as the
-- access request has them. One a session; it ends with the session. What was done is kept by enrolment.
CREATE TABLE manager_draft (
    session    bytea PRIMARY KEY REFERENCES session ON DELETE CASCADE,
    request_id uuid NOT NULL,
    req        text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('two_factor.off', 'exports.release', 'number.reset', 'user.unlock')),
    account_id uuid NOT NULL,
    target     uuid NOT NULL,
    name       text NOT NULL,
    anywhere   boolean NOT NULL,
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    ticket     text NOT NULL CHECK (length(ticket) BETWEEN 1 AND 100),
    ip         text,
    locale     text,
    outcome    text,
    begun_at   timestamptz NOT NULL
);
